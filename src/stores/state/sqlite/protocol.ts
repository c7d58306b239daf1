import { AssertionError } from '../../../core/assert.ts';
import { StoreError } from '../ports.ts';
import type { StateStore } from '../ports.ts';
import type { Packed } from './packing.ts';

/** What the store's thread and its owner say to each other. */
export type PortName = Exclude<keyof StateStore, 'close'>;
export type Method = (...args: readonly unknown[]) => Promise<unknown>;

/** `close` when `port` is null. */
export interface Call {
  readonly id: number;
  readonly port: PortName | null;
  readonly method: string;
  readonly args: readonly unknown[];
  /** Of `results.commit`, in place of `args`. */
  readonly packed?: Packed | undefined;
}

export type Reply =
  | { readonly kind: 'opened'; readonly methods: Readonly<Record<PortName, readonly string[]>> }
  | { readonly kind: 'refused'; readonly error: WireError }
  | { readonly kind: 'value'; readonly id: number; readonly value: unknown; readonly packed?: Packed }
  | { readonly kind: 'error'; readonly id: number; readonly error: WireError };

/** Structured clone turns every error into a plain `Error`; this keeps its class. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly reason: StoreError['reason'] | null;
}

export function toWire(error: unknown): WireError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  return { name, message, stack, reason: error instanceof StoreError ? error.reason : null };
}

export function fromWire({ name, message, stack, reason }: WireError): Error {
  const error = reason
    ? new StoreError(message, reason)
    : name === 'AssertionError'
      ? new AssertionError(message)
      : Object.assign(new Error(message), { name });
  if (stack !== undefined) error.stack = stack;
  return error;
}
