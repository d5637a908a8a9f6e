// Brush, eraser and smart scribble.

import { VOID_KEY } from '../labelTypes';
import { brushSegment } from './brushStroke';
import type { Sample, ToolUse } from './draft.svelte';
import type { MaskEdit } from './maskEdit';
import type { LabelSession } from './session.svelte';

const LEAST_PRESSURE = 0.2; // share of the brush's size that remains

export class BrushUse implements ToolUse {
  private edit: MaskEdit | null = null;
  private last: Sample | null = null;
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
    this.drag([at]);
  }

  drag(to: readonly Sample[]): void {
    const { edit } = this;
    if (!edit || !this.last) return;
    for (const next of to) {
      const size = this.session.size * (LEAST_PRESSURE + (1 - LEAST_PRESSURE) * next.pressure);
      brushSegment(this.last.x, this.last.y, next.x, next.y, size, (y, from, end) => edit.span(y, from, end, this.key));
      this.last = next;
    }
    this.session.show();
  }

  lift(): void {
    if (!this.edit) return;
    this.edit = null;
    this.session.finish(this.tool, this.key);
  }

  abandon(): void {
    this.edit = null;
    this.session.cancelEdit();
  }
}
