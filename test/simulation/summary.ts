import type { History } from './world.ts';

/** What many histories had in them: a simulation in which nothing happens proves nothing. */
export class Summary {
  histories = 0;
  virtualMs = 0;
  batches = 0;
  lines = 0;
  crashes = 0;
  powerCuts = 0;
  zombies = 0;
  troubles = 0;
  deaths = 0;
  failedLines = 0;
  readonly resends: number[] = [];
  readonly room: Record<string, number> = {};
  readonly failpoints = new Map<string, number>();
  readonly violations: { readonly seed: number; readonly violation: string }[] = [];

  add(history: History): void {
    this.histories += 1;
    this.virtualMs += history.virtualMs;
    this.batches += history.batches;
    this.lines += history.lines;
    this.crashes += history.crashes;
    this.powerCuts += history.powerCuts;
    this.zombies += history.zombies;
    this.troubles += history.troubles;
    this.deaths += history.deaths;
    this.failedLines += history.failedLines;
    this.resends.push(...history.resends);
    for (const [what, count] of Object.entries(history.room))
      this.room[what] = (this.room[what] ?? 0) + count;
    for (const [name, count] of history.failpoints)
      this.failpoints.set(name, (this.failpoints.get(name) ?? 0) + count);
    if (history.violation !== null)
      this.violations.push({ seed: history.seed, violation: history.violation });
  }

  toString(): string {
    const sum = this.resends.reduce((a, b) => a + b, 0);
    const mean = this.resends.length > 0 ? sum / this.resends.length : 0;
    return [
      `${this.histories} histories, ${this.violations.length} failed`,
      `${(this.virtualMs / 3_600_000).toFixed(0)} virtual hours, ${this.batches} batches, ${this.lines} lines`,
      `${this.crashes} crashes (${this.powerCuts} power cuts), ${this.zombies} zombies`,
      `${this.troubles} troubles of servers, ${this.deaths} deaths of servers, ${this.failedLines} lines failed`,
      `room for tokens: ${JSON.stringify(this.room)}`,
      `re-sent per end of a process: ${mean.toFixed(2)} on average, ${Math.max(0, ...this.resends)} at most`,
    ].join('; ');
  }
}
