// A long list that the server orders and filters, fetched in parts as its rows come into view.

import { SvelteMap } from 'svelte/reactivity';

export const PART = 100; // rows fetched at a time

export interface FoundRows<Row> {
  total: number;
  images: Row[];
}

export abstract class RowsByPart<Row> {
  total = $state(0);
  fetched = $state(false);
  protected parts = new SvelteMap<number, Row[]>();
  private asked: Record<number, { abort: AbortController; done: Promise<void> }> = {}; // on their way, by part

  /** `fail` gets what goes wrong on the way. */
  constructor(private fail: (error: unknown) => void) {}

  protected abstract ask(offset: number, limit: number, signal: AbortSignal): Promise<FoundRows<Row>>;

  row(index: number): Row | undefined {
    return this.parts.get(Math.floor(index / PART))?.[index % PART];
  }

  /** Fetch what is missing of the rows from `first` to before `end`. */
  async show(first: number, end: number): Promise<void> {
    const from = Math.floor(Math.max(first, 0) / PART);
    const to = Math.floor(Math.max(end - 1, first, 0) / PART);
    const wanted = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    await Promise.all(
      wanted.filter((part) => !this.parts.has(part)).map((part) => this.asked[part]?.done ?? this.fetch(part)),
    );
  }

  /** Another order or filter, or another folder: everything is asked for again. */
  async restart(): Promise<void> {
    for (const { abort } of Object.values(this.asked)) abort.abort();
    this.asked = {};
    this.parts.clear();
    this.total = 0;
    this.fetched = false;
    await this.fetch(0);
  }

  /** Something changed on the server: the rows from `first` to `end`, and one more, are fetched over, the others when
   * they are seen. */
  async refresh(first: number, end: number, also = first): Promise<void> {
    const seen = [Math.floor(also / PART)];
    for (let part = Math.floor(Math.max(first, 0) / PART); part * PART < Math.max(end, 1); part++)
      if (!seen.includes(part)) seen.push(part);
    for (const part of [...this.parts.keys()]) if (!seen.includes(part)) this.parts.delete(part);
    await Promise.all(seen.map((part) => this.fetch(part)));
  }

  private fetch(part: number): Promise<void> {
    this.asked[part]?.abort.abort();
    const abort = new AbortController();
    const done = this.take(part, abort.signal).finally(() => {
      if (this.asked[part]?.abort === abort) delete this.asked[part];
    });
    this.asked[part] = { abort, done };
    return done;
  }

  private async take(part: number, signal: AbortSignal): Promise<void> {
    try {
      const found = await this.ask(part * PART, PART, signal);
      if (signal.aborted) return;
      this.total = found.total;
      this.parts.set(part, found.images);
      this.fetched = true;
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }
}
