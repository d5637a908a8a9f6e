// A rectangle, from corner to corner.

import type { Draft, Sample, ToolUse } from './draft.svelte';
import { rectangleSpans } from './polygonFill';
import type { LabelSession } from './session.svelte';

export class RectangleUse implements ToolUse {
  constructor(
    private readonly session: LabelSession,
    private readonly draft: Draft,
  ) {}

  press({ x, y }: Sample): void {
    if (this.session.refuses(this.session.key)) return;
    this.draft.rectangle = [
      [x, y],
      [x, y],
    ];
  }

  drag(to: readonly Sample[]): void {
    const last = to.at(-1);
    if (this.draft.rectangle && last) this.draft.rectangle = [this.draft.rectangle[0], [last.x, last.y]];
  }

  lift(): void {
    const { rectangle } = this.draft;
    if (!rectangle) return;
    this.draft.rectangle = null;
    const { key } = this.session;
    const edit = this.session.begin();
    rectangleSpans(...rectangle, (y, from, to) => edit.span(y, from, to, key));
    this.session.finish('rectangle', key);
  }

  abandon(): void {
    this.draft.rectangle = null;
  }
}
