// One edit of a mask in the making: what it changed, so that it can be cancelled, and sent as one patch.

import { VOID_KEY, type Box, type Patch } from '../labelTypes';

export const NOBODY = 0;
export const PERSON = 1;
export const ASSISTANT = 2;

export interface LabelMask {
  width: number;
  height: number;
  keys: Uint8Array; // [height, width]
  drawn: Uint8Array; // [height, width] NOBODY, PERSON or ASSISTANT
}

/** The smallest box around both; null is empty. */
export function union(a: Box | null, b: Box | null): Box | null {
  if (!a || !b) return a ?? b;
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return { x, y, w: Math.max(a.x + a.w, b.x + b.w) - x, h: Math.max(a.y + a.h, b.y + b.h) - y };
}

/** What both have in common; null where they do not meet. */
export function intersection(a: Box, b: Box): Box | null {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  const w = Math.min(a.x + a.w, b.x + b.w) - x;
  const h = Math.min(a.y + a.h, b.y + b.h) - y;
  return w > 0 && h > 0 ? { x, y, w, h } : null;
}

/** Puts a patch into the mask. Without a map of who drew it, labels count as the person's. */
export function applyPatch(mask: LabelMask, patch: Patch): void {
  for (let row = 0, at = 0; row < patch.h; row++) {
    let i = (patch.y + row) * mask.width + patch.x;
    for (let column = 0; column < patch.w; column++, at++, i++) {
      if (!patch.changed[at]) continue;
      mask.keys[i] = patch.values[at]!;
      mask.drawn[i] = patch.drawn ? patch.drawn[at]! : patch.values[at] === VOID_KEY ? NOBODY : PERSON;
    }
  }
}

const BLOCK_BITS = 12; // pixels are remembered in runs of 4096, so that a stroke costs what it touches
const BLOCK = 1 << BLOCK_BITS;

interface Before {
  keys: Uint8Array;
  drawn: Uint8Array;
  changed: Uint8Array;
}

export class MaskEdit {
  private blocks = new Map<number, Before>();
  private box: Box | null = null;
  private fresh: Box | null = null;
  pixels = 0; // changed so far
  spared = 0; // pixels that were not changed because their class is locked

  private readonly locked = new Uint8Array(256); // 1 for a locked key

  /** `locked`: keys whose pixels stay as they are. `by`: PERSON or ASSISTANT. */
  constructor(
    private readonly mask: LabelMask,
    locked: readonly number[],
    private readonly by = PERSON,
  ) {
    for (const key of locked) this.locked[key] = 1;
  }

  /** Paints row y from x = from to x < to. Parts outside the image are left out. */
  span(y: number, from: number, to: number, key: number): void {
    const { width, height, keys, drawn } = this.mask;
    if (y < 0 || y >= height || this.locked[key]) return;
    const left = Math.max(from, 0);
    const right = Math.min(to, width);
    const by = key === VOID_KEY ? NOBODY : this.by;
    let first = -1;
    let last = -1;
    for (let x = left, i = y * width + left; x < right; x++, i++) {
      const old = keys[i]!;
      if (old === key && drawn[i] === by) continue;
      if (this.locked[old]) {
        this.spared++;
        continue;
      }
      this.remember(i);
      keys[i] = key;
      drawn[i] = by;
      if (first < 0) first = x;
      last = x;
    }
    if (first >= 0) this.touch({ x: first, y, w: last - first + 1, h: 1 });
  }

  /** Paints where `inside` is 1, with one key or a key for each pixel. */
  region(box: Box, inside: Uint8Array, key: number | Uint8Array): void {
    for (let row = 0, at = 0; row < box.h; row++) {
      for (let column = 0; column < box.w;) {
        if (!inside[at + column]) {
          column++;
          continue;
        }
        const value = typeof key === 'number' ? key : key[at + column]!;
        let end = column + 1;
        while (end < box.w && inside[at + end] && (typeof key === 'number' || key[at + end] === value)) end++;
        this.span(box.y + row, box.x + column, box.x + end, value);
        column = end;
      }
      at += box.w;
    }
  }

  /** What has changed since this was last asked. */
  takeFresh(): Box | null {
    const { fresh } = this;
    this.fresh = null;
    return fresh;
  }

  /** Puts everything back; what must be drawn again. */
  cancel(): Box | null {
    const { keys, drawn } = this.mask;
    for (const [block, before] of this.blocks) {
      const start = block << BLOCK_BITS;
      for (let i = 0; i < BLOCK; i++) {
        if (!before.changed[i]) continue;
        keys[start + i] = before.keys[i]!;
        drawn[start + i] = before.drawn[i]!;
      }
    }
    this.blocks.clear();
    return this.box;
  }

  /** A change by the server below this edit: what it painted stays on top, and comes back as the server says. */
  rebase(patch: Patch): void {
    for (let row = 0, at = 0; row < patch.h; row++) {
      for (let column = 0; column < patch.w; column++, at++) {
        if (!patch.changed[at]) continue;
        const i = (patch.y + row) * this.mask.width + patch.x + column;
        const before = this.blocks.get(i >> BLOCK_BITS);
        if (!before?.changed[i & (BLOCK - 1)]) continue;
        before.keys[i & (BLOCK - 1)] = patch.values[at]!;
        patch.changed[at] = 0;
      }
    }
  }

  /** Everything as one patch; null where nothing was changed. */
  patch(): Patch | null {
    const { box } = this;
    if (!box) return null;
    const values = new Uint8Array(box.w * box.h);
    const changed = new Uint8Array(box.w * box.h);
    for (let row = 0, at = 0; row < box.h; row++) {
      let i = (box.y + row) * this.mask.width + box.x;
      for (let column = 0; column < box.w; column++, at++, i++) {
        if (!this.blocks.get(i >> BLOCK_BITS)?.changed[i & (BLOCK - 1)]) continue;
        values[at] = this.mask.keys[i]!;
        changed[at] = 1;
      }
    }
    return { ...box, values, changed };
  }

  private remember(i: number): void {
    const block = i >> BLOCK_BITS;
    let before = this.blocks.get(block);
    if (!before) {
      before = { keys: new Uint8Array(BLOCK), drawn: new Uint8Array(BLOCK), changed: new Uint8Array(BLOCK) };
      this.blocks.set(block, before);
    }
    const at = i & (BLOCK - 1);
    if (before.changed[at]) return;
    before.changed[at] = 1;
    before.keys[at] = this.mask.keys[i]!;
    before.drawn[at] = this.mask.drawn[i]!;
    this.pixels++;
  }

  private touch(box: Box): void {
    this.box = union(this.box, box);
    this.fresh = union(this.fresh, box);
  }
}
