// How long a person has worked on an edit: the time between events, without the breaks.

const BREAK_MS = 20_000; // nothing for longer than this is a break, of which only this much counts

export class ActiveTime {
  private last: number | null = null;
  private spent = 0; // ms

  /** Something was done at `now`, in milliseconds. */
  touch(now: number): void {
    if (this.last !== null) this.spent += Math.min(Math.max(now - this.last, 0), BREAK_MS);
    this.last = now;
  }

  /** The seconds since this was last asked. */
  take(now: number): number {
    this.touch(now);
    const seconds = this.spent / 1000;
    this.spent = 0;
    return Math.round(seconds * 1000) / 1000;
  }
}
