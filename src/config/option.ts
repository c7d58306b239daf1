import type { Kind } from './values.ts';

/** Commands that take options of the table. */
export type OptionCommand = 'serve' | 'run' | 'simulator' | 'verify';

export interface Option<T, D> {
  /** It gives `--flag`, `OFFPEAK_FLAG`, and the key of the file in camel case, unless `yaml` gives another. */
  readonly flag: string;
  /** Dotted path in the file. Null: the file does not have it. */
  readonly yaml?: string | null;
  readonly kind: Kind<T>;
  /** It stands for the value in `--help`. Absent: the option is a switch. */
  readonly placeholder?: string;
  /** The flag may be given several times. */
  readonly repeatable?: boolean;
  readonly default: D;
  /** The default in words, where its value says too little. */
  readonly defaultText?: string;
  /** It begins with a capital letter and has no full stop at its end. */
  readonly help: string;
  /** What `run --help` says instead. */
  readonly forRun?: { readonly help?: string; readonly defaultText?: string };
  /** A changed value is applied on SIGHUP; others need a restart. */
  readonly reloads?: true;
  /** Absent: `serve` alone. */
  readonly commands?: readonly OptionCommand[];
}

export const option = <T, const D extends T | null>(entry: Option<T, D>): Option<T, D> => entry;
