// The images of the folder as the server orders and filters them, fetched in parts as they come into view.

import { SvelteMap } from 'svelte/reactivity';
import * as labelApi from './labelApi';
import type { ImageOrder, ImageRow, ImageState } from './labelTypes';

export const PART = 100; // images fetched at a time

export class ImageList {
  order = $state<ImageOrder>('name');
  state = $state<ImageState | ''>('');
  search = $state('');
  total = $state(0);
  fetched = $state(false);
  private parts = new SvelteMap<number, ImageRow[]>();
  private asked: Record<number, { abort: AbortController; done: Promise<void> }> = {}; // on their way, by part

  /** `fail` gets what goes wrong on the way. */
  constructor(private fail: (error: unknown) => void) {}

  row(index: number): ImageRow | undefined {
    return this.parts.get(Math.floor(index / PART))?.[index % PART];
  }

  indexOf(id: string | null): number {
    for (const [part, rows] of this.parts) {
      const at = rows.findIndex((row) => row.id === id);
      if (at >= 0) return part * PART + at;
    }
    return -1;
  }

  /** The first image of the list that nobody has open, of those that are there; else the first. */
  firstFree(): number {
    const rows = this.parts.get(0) ?? [];
    return Math.max(
      rows.findIndex((row) => !row.locked_by),
      0,
    );
  }

  /** Fetch what is missing of the images from `first` to before `end`. */
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

  /** Something changed on the server: the images from `first` to `end`, and one more, are fetched over, the others when
   * they are seen. */
  async refresh(first: number, end: number, also: number): Promise<void> {
    const seen = [Math.floor(also / PART)];
    for (let part = Math.floor(Math.max(first, 0) / PART); part * PART < Math.max(end, 1); part++)
      if (!seen.includes(part)) seen.push(part);
    for (const part of [...this.parts.keys()]) if (!seen.includes(part)) this.parts.delete(part);
    await Promise.all(seen.map((part) => this.fetch(part)));
  }

  /** What this page itself has changed is shown at once. */
  change(id: string, change: Partial<ImageRow>): void {
    for (const [part, rows] of this.parts) {
      if (rows.some((row) => row.id === id))
        this.parts.set(
          part,
          rows.map((row) => (row.id === id ? { ...row, ...change } : row)),
        );
    }
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
    const { order, state, search } = this;
    try {
      const query = { order, state, search: search.trim(), offset: part * PART, limit: PART };
      const found = await labelApi.images(query, signal);
      if (signal.aborted) return;
      this.total = found.total;
      this.parts.set(part, found.images);
      this.fetched = true;
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }
}
