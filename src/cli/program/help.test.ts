import type { Command } from 'commander';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { displayWidth } from '../terminal/width.ts';
import { buildProgram } from './program.ts';

const below = (command: Command): Command[] => [command, ...command.commands.flatMap(below)];
const nameOf = (command: Command): string =>
  `${command.parent ? `${nameOf(command.parent)} ` : ''}${command.name()}`;

let commands: Command[];
beforeEach(() => {
  commands = below(
    buildProgram(
      (action) =>
        async (...args) =>
          void (await action(...args)),
      '0.0.0',
    ),
  );
});

const { columns: columnsBefore } = process.stdout;
afterEach(() => {
  process.stdout.columns = columnsBefore;
});

function helpOf(command: Command, columns: number): string {
  let shown = '';
  process.stdout.columns = columns;
  command.configureOutput({
    writeOut: (text) => {
      shown += text;
    },
    getOutHelpWidth: () => columns,
  });
  command.outputHelp();
  return shown;
}

test('each text of --help begins with a capital letter and has no full stop at its end', () => {
  const texts = commands.flatMap((command) => {
    const items = [...command.createHelp().visibleOptions(command), ...command.registeredArguments];
    return [command, ...command.createHelp().visibleCommands(command)]
      .map((each) => [nameOf(command), each.description()])
      .concat(items.map(({ description }) => [nameOf(command), description.replace(/ \[OFFPEAK_.*/, '')]));
  });

  expect(texts.length).toBeGreaterThan(200);
  expect(texts.filter(([, text = '']) => text !== '' && !/^[A-Z].*[^.]$/.test(text))).toEqual([]);
});

test.each([40, 80, 200])(
  'every --help fits a terminal of %d columns; only a flag may be longer',
  (columns) => {
    const wide = commands.flatMap((command) =>
      helpOf(command, columns)
        .split('\n')
        .filter((line) => displayWidth(line) > columns && !/^ {2}-\S+ <\S+>$/.test(line)),
    );

    expect(wide).toEqual([]);
  },
);

test.each(['serve', 'run'])('the options of %s are below headings', (name) => {
  const command = commands.find((each) => each.name() === name);

  const help = command ? helpOf(command, 80) : '';

  expect(help).toMatch(/^Upstream:\n  --upstream <URL>/m);
  expect(help).toMatch(/^Simulator:\n  --simulator-latency <TIME>/m);
  expect(help.match(/^Options:$/gm)).toHaveLength(1);
});

test('run --help speaks of run, not of serve', () => {
  const run = commands.find((each) => each.name() === 'run');

  const help = run ? helpOf(run, 200) : '';

  expect(help).toMatch(/--upstream <URL> .*default: none; one is needed\]/);
  expect(help).toMatch(/--concurrency <N> +Requests that may be in flight \[/);
});
