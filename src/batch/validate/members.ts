import { type ByteRange, stringAt } from '../request-line.ts';

export const KEYS_MAX = 10_000;
/** Up to this number of names, comparing them in pairs is faster than a set of strings. */
const PAIRWISE_MAX = 16;

/** Finds the members of one object of a line by name. It makes no strings where comparing bytes is enough. */
export class Members {
  /** Each member has four numbers: start and end of its name, start and end of its value. */
  readonly #ranges: number[] = [];
  #count = 0;
  /** Some name has a backslash, so that equal names may differ in their bytes. */
  #escaped = false;

  get tooMany(): boolean {
    return this.#count > KEYS_MAX;
  }

  clear(): void {
    this.#count = 0;
    this.#escaped = false;
  }

  add(nameStart: number, nameEnd: number, escaped: boolean, valueStart: number, valueEnd: number): void {
    const at = this.#count++ * 4;
    if (this.tooMany) return;
    this.#ranges[at] = nameStart;
    this.#ranges[at + 1] = nameEnd;
    this.#ranges[at + 2] = valueStart;
    this.#ranges[at + 3] = valueEnd;
    if (escaped) this.#escaped = true;
  }

  find(line: Buffer, name: string): ByteRange | undefined {
    for (let at = 0; at < this.#count * 4; at += 4) {
      if (isNamed(line, this.#at(at), this.#at(at + 1), this.#escaped, name)) {
        return { start: this.#at(at + 2), end: this.#at(at + 3) };
      }
    }
    return undefined;
  }

  /** Returns a name that two of the members have. */
  duplicateName(line: Buffer): string | undefined {
    const pairwise = !this.#escaped && this.#count <= PAIRWISE_MAX;
    const at = pairwise ? this.#duplicateInBytes(line) : this.#duplicateInText(line);
    return at === undefined ? undefined : this.#name(line, at);
  }

  #duplicateInBytes(line: Buffer): number | undefined {
    for (let at = 4; at < this.#count * 4; at += 4) {
      for (let other = 0; other < at; other += 4) {
        if (isSame(line, this.#at(at), this.#at(at + 1), this.#at(other), this.#at(other + 1))) return at;
      }
    }
    return undefined;
  }

  #duplicateInText(line: Buffer): number | undefined {
    const names = new Set<string>();
    for (let at = 0; at < this.#count * 4; at += 4) {
      if (names.size === names.add(this.#name(line, at)).size) return at;
    }
    return undefined;
  }

  #name(line: Buffer, at: number): string {
    return stringAt(line, { start: this.#at(at), end: this.#at(at + 1) });
  }

  #at(index: number): number {
    return this.#ranges[index] ?? 0;
  }
}

/** Whether the JSON string at `[start, end)` says `name`, which is ASCII. */
export function isNamed(line: Buffer, start: number, end: number, escaped: boolean, name: string): boolean {
  if (escaped) return stringAt(line, { start, end }) === name;
  if (end - start - 2 !== name.length) return false;
  for (let index = 0; index < name.length; index++) {
    if (line[start + 1 + index] !== name.charCodeAt(index)) return false;
  }
  return true;
}

function isSame(line: Buffer, start: number, end: number, otherStart: number, otherEnd: number): boolean {
  if (end - start !== otherEnd - otherStart) return false;
  for (let index = 1; index < end - start; index++) {
    if (line[start + index] !== line[otherStart + index]) return false;
  }
  return true;
}
