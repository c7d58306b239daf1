import { between, type Random } from './random.ts';
import { RequestError } from './request-error.ts';

/**
 * Makes a string that matches a regular expression, by walking the expression. It is never run, as it comes from a stranger and
 * could take for ever. Look-arounds and back-references are refused. Open ends repeat up to `repeatsExtra` times more.
 */
export function samplePattern(pattern: string, random: Random, repeatsExtra = 3): string {
  const walk = new Walk(pattern, random, repeatsExtra);
  const text = walk.alternatives();
  if (!walk.atEnd) throw unsupported(pattern);
  return text;
}

const REPEATS_MAX = 1_000;
const LENGTH_MAX = 10_000;
const DEPTH_MAX = 64;
const ANY = charactersFrom(' ', '~');
const CLASSES: Readonly<Record<string, string>> = {
  d: charactersFrom('0', '9'),
  w: `${charactersFrom('a', 'z')}${charactersFrom('A', 'Z')}${charactersFrom('0', '9')}_`,
  s: ' ',
};
const CONTROLS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v' };

class Walk {
  readonly #pattern: string;
  readonly #random: Random;
  readonly #repeatsExtra: number;
  #at = 0;
  #depth = 0;
  #length = 0;

  constructor(pattern: string, random: Random, repeatsExtra: number) {
    this.#pattern = pattern;
    this.#random = random;
    this.#repeatsExtra = repeatsExtra;
  }

  get atEnd(): boolean {
    return this.#at >= this.#pattern.length;
  }

  /** Reads `a|b|c`. All are walked, to find the end, and one is taken. */
  alternatives(): string {
    if (++this.#depth > DEPTH_MAX) throw unsupported(this.#pattern);
    const choices = [this.#sequence()];
    while (this.#take('|')) choices.push(this.#sequence());
    this.#depth -= 1;
    return choices[Math.floor(this.#random() * choices.length)] ?? '';
  }

  #sequence(): string {
    let text = '';
    while (!this.atEnd && this.#peek() !== '|' && this.#peek() !== ')') {
      if (this.#take('^') || this.#take('$')) continue;
      const start = this.#at;
      let piece = this.#atom();
      const end = this.#at;
      const repeats = this.#repeats();
      const after = this.#at;
      let repeated = repeats > 0 ? piece : '';
      for (let n = 1; n < repeats; n++) {
        // The part is walked again, so that `[a-z]{5}` is not one letter five times.
        this.#at = start;
        piece = this.#atom();
        repeated += piece;
        if (this.#at !== end || (this.#length += piece.length + 1) > LENGTH_MAX)
          throw unsupported(this.#pattern);
      }
      this.#at = after;
      text += repeated;
    }
    return text;
  }

  #atom(): string {
    if (this.#take('(')) return this.#group();
    if (this.#take('[')) return this.#oneOf(this.#set());
    if (this.#take('.')) return this.#oneOf(CLASSES['w'] ?? '');
    if (this.#take('\\')) return this.#oneOf(this.#escaped());
    if ('*+?{'.includes(this.#peek())) throw unsupported(this.#pattern);
    return this.#next();
  }

  #group(): string {
    if (this.#take('?') && !this.#take(':')) {
      const name = /^<[A-Za-z_]\w*>/.exec(this.#pattern.slice(this.#at, this.#at + 100));
      if (name === null) throw unsupported(this.#pattern);
      this.#at += name[0].length;
    }
    const text = this.alternatives();
    if (!this.#take(')')) throw unsupported(this.#pattern);
    return text;
  }

  #set(): string {
    const negated = this.#take('^');
    let members = '';
    while (!this.#take(']')) {
      const first = this.#take('\\') ? this.#escaped() : this.#next();
      if (first.length === 1 && this.#peek() === '-' && this.#pattern[this.#at + 1] !== ']') {
        this.#at += 1;
        const last = this.#take('\\') ? this.#escaped() : this.#next();
        members += charactersFrom(first, last);
      } else {
        members += first;
      }
    }
    return negated ? allBut(members) : members;
  }

  /** Returns the characters that an escape stands for. */
  #escaped(): string {
    const letter = this.#next();
    const listed = CLASSES[letter] ?? CONTROLS[letter];
    if (listed !== undefined) return listed;
    const opposite = CLASSES[letter.toLowerCase()];
    if (opposite !== undefined) return allBut(opposite);
    if (/[A-Za-z0-9]/.test(letter)) throw unsupported(this.#pattern);
    return letter;
  }

  #repeats(): number {
    const [min, max] = this.#bounds();
    this.#take('?'); // Lazy or greedy, the same strings match.
    if (min > REPEATS_MAX) throw unsupported(this.#pattern);
    return between(this.#random, min, Math.max(min, Math.min(max, min + this.#repeatsExtra)));
  }

  #bounds(): [number, number] {
    if (this.#take('?')) return [0, 1];
    if (this.#take('*')) return [0, Infinity];
    if (this.#take('+')) return [1, Infinity];
    const braces = /^\{(\d+)(,(\d*))?\}/.exec(this.#pattern.slice(this.#at, this.#at + 32));
    if (braces === null) return [1, 1];
    this.#at += braces[0].length;
    const min = Number(braces[1]);
    if (braces[2] === undefined) return [min, min];
    return [min, braces[3] === '' ? Infinity : Number(braces[3])];
  }

  #oneOf(characters: string): string {
    if (characters === '') throw unsupported(this.#pattern);
    return characters[Math.floor(this.#random() * characters.length)] ?? '';
  }

  #peek(): string {
    return this.#pattern[this.#at] ?? '';
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at += 1;
    return true;
  }

  #next(): string {
    if (this.atEnd) throw unsupported(this.#pattern);
    return this.#pattern[this.#at++] ?? '';
  }
}

const allBut = (characters: string): string =>
  ANY.split('')
    .filter((character) => !characters.includes(character))
    .join('');

function charactersFrom(first: string, last: string): string {
  const from = first.charCodeAt(0);
  const count = Math.min(Math.max(0, last.charCodeAt(0) - from + 1), 256);
  return String.fromCharCode(...Array.from({ length: count }, (_, index) => from + index));
}

const unsupported = (pattern: string): RequestError =>
  new RequestError(
    `The simulator cannot make a string for the pattern ${JSON.stringify(pattern.slice(0, 100))}. Use a simpler one.`,
    'response_format',
    'invalid_json_schema',
  );
