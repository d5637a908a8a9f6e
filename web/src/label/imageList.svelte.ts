// The images of the folder as the server orders and filters them, fetched in parts as they come into view.

import { PART, RowsByPart } from '../lib/rowsByPart.svelte';
import * as labelApi from './labelApi';
import type { ImageOrder, ImageRow, ImageState } from './labelTypes';

export { PART };

export class ImageList extends RowsByPart<ImageRow> {
  order = $state<ImageOrder>('name');
  state = $state<ImageState | ''>('');
  search = $state('');

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

  protected ask(offset: number, limit: number, signal: AbortSignal) {
    const { order, state, search } = this;
    return labelApi.images({ order, state, search: search.trim(), offset, limit }, signal);
  }
}
