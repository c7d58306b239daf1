import { createInterface } from 'node:readline/promises';
import { CliError, EXIT } from './exit.ts';

/** Whether the user typed `answer`. Where nobody can be asked, the command needs `--yes`. */
export async function isConfirmed(question: string, answer: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new CliError('this cannot be undone, and nobody can be asked here: add --yes.', EXIT.usage);
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(`${question} `)).trim() === answer;
  } finally {
    lines.close();
  }
}
