// The pixel that every part means by “this pixel”. It follows the pointer until a click pins it.

import type { Prediction } from './types';

export interface Place {
  x: number; // pixels of the image, from its left edge
  y: number;
}

export class PinnedCursor {
  prediction = $state.raw<Prediction | null>(null);
  cursor = $state.raw<Place | null>(null);
  pinned = $state(false);
  pointer = $state.raw<Place | null>(null); // under the mouse or the finger: what the tooltip names

  inside(x: number, y: number): Place | null {
    if (!this.prediction) return null;
    const { width, height } = this.prediction;
    const within = (value: number, size: number) => Math.min(Math.max(Math.round(value), 0), size - 1);
    return { x: within(x, width), y: within(y, height) };
  }

  /** The pointer is over a pixel: the cursor follows, unless it is pinned. */
  point(x: number, y: number): void {
    this.pointer = this.inside(x, y);
    if (!this.pinned) this.cursor = this.pointer;
  }

  /** Move the cursor on purpose, as by an arrow key; a pinned one stays pinned. */
  moveCursor(x: number, y: number): void {
    this.cursor = this.inside(x, y);
  }

  pin(x: number, y: number): void {
    this.cursor = this.inside(x, y);
    this.pinned = true;
  }

  free(cursor: Place | null = this.pointer ?? this.cursor): void {
    this.pinned = false;
    this.cursor = cursor;
  }

  /** A click, a tap, Enter: pins this pixel, or frees it where it is the pinned one (`near`: as good as the same). */
  click(x: number, y: number, near = 0): void {
    const at = this.cursor;
    const same = this.pinned && at && Math.abs(at.x - x) <= near + 0.5 && Math.abs(at.y - y) <= near + 0.5;
    if (same) this.free();
    else this.pin(x, y);
  }
}
