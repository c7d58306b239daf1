/** Words that names, comments, texts and pages do not use any more, each with what to say instead. */

export interface Retired {
  readonly word: string;
  readonly say: string;
  /** What is looked for, where the word alone would find too much. Names are split into words: `bellOf` is `bell of`. */
  readonly pattern?: RegExp;
  /** Phrases in which the word is plain English or somebody else's term. */
  readonly except?: RegExp;
  /** A phrase that must be found: the proof that this row can fail. The word itself when absent. */
  readonly example?: string;
}

export const RETIRED: readonly Retired[] = [
  // One word, one meaning
  {
    word: 'room of a disk',
    say: '(disk) space, or width of a terminal; room is what a deployment has for enqueued tokens',
    pattern: /\b(?:disks?|terminals?|bytes)\b.*\broom\b|\broom\b.*\b(?:disk|terminal|bytes)\b/,
    example: 'room on the disk',
  },
  {
    word: 'contract suite',
    say: 'conformance suite; the contract is that of the wire',
    pattern: /\b(?:store|blob|state|port)s? contract\b|\bcontract (?:suite|of the store|of the port)\b/,
  },
  {
    word: 'window for the 24 hours',
    say: 'completion window; a window is what a server has in flight',
    pattern:
      /(?<!completion |strict )\bwindow (?:expire|end|is over|has passed|ran out)|\b24 ?h(?:our)?s? window\b|\bday.s window\b/,
    example: 'the window expired',
  },
  {
    word: 'control alone',
    say: 'control plane',
    pattern: /\b(?:of|the|by) control\b(?! (?:plane|character)| *$)/,
    example: 'the words of control are',
  },
  {
    word: 'suspect reply',
    say: 'ambiguous reply; a suspect is a line',
    pattern: /\bsuspect (?:repl|answer|failure)/,
  },
  // Words of our own for what the field has a word for
  { word: 'feed', say: 'backlog: the lines of a batch that this process holds' },
  { word: 'poke', say: 'wake', pattern: /\bpok(?:e|es|ed|ing)\b/ },
  { word: 'pump', say: 'send what is ready' },
  { word: 'bury', say: 'remove garbage, forget', pattern: /\b(?:bury|buries|buried)\b/ },
  { word: 'corpse', say: 'ended process' },
  { word: 'lane', say: 'circuit breaker' },
  { word: 'smell', say: 'malformed', pattern: /\bsmell(?:s|y)?\b/ },
  { word: 'grant', say: 'claim', pattern: /\bgrant(?:s|ed)?\b/, except: /\bgrant type\b|\bgranted\b/ },
  {
    word: 'standing',
    say: 'batch route, or actual against declared',
    except: /good standing/,
  },
  { word: 'faults of standing', say: 'faults of actual' },
  { word: 'until taken', say: 'retry transient' },
  {
    word: 'is passing',
    say: 'is transient',
    pattern: /\bis passing\b|\bpassing (?:reason|error|failure|fault|trouble)s?\b/,
  },
  {
    word: 'quotas',
    say: 'admission queue',
    pattern: /\bnew quotas\b|\bclass quotas\b/,
    example: 'new Quotas',
  },
  { word: 'failure reading', say: 'classified failure', pattern: /\bfailure reading\b|\bread failure\b/ },
  {
    word: 'suspects',
    say: 'poison line: crash suspects, death suspects',
    pattern: /\bsuspects? ts\b|\bclass suspects\b/,
    example: 'class Suspects',
  },
  {
    word: 'fall of a server',
    say: 'outage',
    pattern: /\bfalls? of\b|\bthe fall\b/,
    example: 'fallOf',
  },
  { word: 'bell', say: 'notifier' },
  { word: 'ring', say: 'notify', pattern: /\b(?:rings?|ringing|rang)\b/ },
  { word: 'twin', say: 'duplicate' },
  {
    word: 'written along',
    say: 'incremental output',
    pattern: /\b(?:writ\w+|outputs?|not) along\b|\balong output/,
  },
  {
    word: 'journal',
    say: "lifecycle log; a journal is the database's",
    except: /\bjournal (?:mode|size|file|of a file system)\b/,
  },
  {
    word: 'told by',
    say: 'a name that says what the wrapper does',
    pattern: /\btold by\b(?=[^a-z]*\()|\bimport .*\btold by\b/,
    example: 'return toldBy(log)',
  },
  { word: 'govern', say: 'a name that says what it makes' },
  {
    word: 'apart',
    say: 'poison line',
    pattern: /\b(?:class|new|import) apart\b|\bapart ts\b/,
    example: './apart.ts',
  },
  { word: 'decide.ts', say: 'who-pays.ts', pattern: /\bdecide ts\b/ },
  {
    word: 'inspect ahead',
    say: 'the create inspects its file',
    pattern: /\binspect(?:s|ions?)? ahead\b|\bon growth\b/,
  },
  { word: 'attend', say: 'ensure that its task runs', pattern: /\battend(?:s|ed|ing)?\b/ },
];

/** A line as words: names are split, and case does not matter. */
export const asWords = (text: string): string =>
  text
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1 $2')
    .replace(/[-_/.]+/g, ' ')
    .replace(/ +/g, ' ')
    .toLowerCase();

/** The rows of which a line has the word. */
export function retiredIn(text: string): Retired[] {
  const words = asWords(text);
  return RETIRED.filter(({ word, pattern, except }) => {
    const rest = except ? words.replaceAll(new RegExp(except, 'g'), ' ') : words;
    return (pattern ?? new RegExp(`\\b${word}s?\\b`)).test(rest);
  });
}
