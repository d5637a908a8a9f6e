// Brush, eraser and smart scribble.

import { VOID_KEY } from '../labelTypes';
import { brushSegment } from './brushStroke';
import type { Sample, ToolUse } from './draft.svelte';
import type { MaskEdit } from './maskEdit';
import type { LabelSession } from './session.svelte';

const STEP = 1 / 24; // of the brush's size: a large brush is not swept over the same pixels again and again
const LEAST_PRESSURE = 0.2; // share of the brush's size that remains

export class BrushUse implements ToolUse {
  private edit: MaskEdit | null = null;
  private last: Sample | null = null;
  private rest: Sample | null = null; // where the pointer is, when too near to the last place to be swept alone
  private key = VOID_KEY;

  constructor(
    private readonly session: LabelSession,
    private readonly tool: 'brush' | 'eraser' | 'scribble',
  ) {}

  press(at: Sample): void {
    this.key = this.tool === 'eraser' ? VOID_KEY : this.session.key;
    if (this.session.refuses(this.key)) return;
    this.edit = this.session.begin();
    this.last = at;
    this.sweep(at);
    this.session.show();
  }

  drag(to: readonly Sample[]): void {
    if (!this.edit || !this.last) return;
    for (const next of to) {
      this.rest = next;
      const moved = Math.hypot(next.x - this.last.x, next.y - this.last.y);
      if (moved >= this.session.size * STEP) this.sweep(next);
    }
    this.session.show();
  }

  lift(): void {
    if (!this.edit) return;
    if (this.rest) this.sweep(this.rest);
    this.edit = null;
    this.session.finish(this.tool, this.key);
  }

  /** From where the brush was last to a place. */
  private sweep(to: Sample): void {
    const { edit, last } = this;
    if (!edit || !last) return;
    const size = this.session.size * (LEAST_PRESSURE + (1 - LEAST_PRESSURE) * to.pressure);
    brushSegment(last.x, last.y, to.x, to.y, size, (y, from, end) => edit.span(y, from, end, this.key));
    this.last = to;
    this.rest = null;
  }

  abandon(): void {
    this.edit = this.rest = null;
    this.session.cancelEdit();
  }
}
