import { InvalidArgumentError } from 'commander';
import { WHEN_FULL, type WhenFull } from '../../contract/control.ts';
import type { ExitCode } from '../process/exit.ts';

/** Makes the action of a command from a function that returns an exit code. */
export type Run = <Args extends unknown[]>(
  action: (...args: Args) => Promise<ExitCode>,
) => (...args: Args) => Promise<void>;

/** Makes the action of a command that takes a name or an id. It loads the command's code when it runs. */
export const onNamed =
  <Module>(load: () => Promise<Module>) =>
  <Flags>(act: (module: Module, name: string, flags: Flags) => Promise<ExitCode>) =>
  async (name: string, flags: Flags) =>
    act(await load(), name, flags);

export const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

export function seconds(text: string): number {
  if (!/^\d{1,6}(\.\d+)?$/.test(text) || Number(text) <= 0)
    throw new InvalidArgumentError('Expected seconds, such as 10.');
  return Number(text);
}

export function waitOrFail(text: string): WhenFull {
  const found = WHEN_FULL.find((word) => word === text);
  if (found === undefined) throw new InvalidArgumentError('Expected wait or fail.');
  return found;
}
