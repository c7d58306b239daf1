import { AssertionError } from '../../../core/assert.ts';
import { StoreError } from '../ports.ts';
import type { StoreCall, StoreMethods } from '../calls.ts';
import type { Packed } from './packing.ts';

/** The messages between the store's thread and its owner. */
export interface Request {
  readonly id: number;
  /** `packed`: the arguments of `results.commit`, in place of `args`. */
  readonly call: StoreCall | 'close';
  readonly packed?: Packed | undefined;
}

export type Reply =
  | { readonly kind: 'opened'; readonly methods: StoreMethods }
  | { readonly kind: 'refused'; readonly error: WireError }
  | { readonly kind: 'value'; readonly id: number; readonly value: unknown; readonly packed?: Packed }
  | { readonly kind: 'error'; readonly id: number; readonly error: WireError };

/** Structured clone turns every error into a plain `Error`. This keeps its class. */
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
