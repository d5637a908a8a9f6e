// Smart click: what is clicked belongs to one object, or does not; the assistant finds its region.

import * as api from '../labelApi';
import type { Box } from '../labelTypes';
import type { Draft, Sample, ToolUse } from './draft.svelte';
import { intersection, union } from './maskEdit';
import type { LabelSession } from './session.svelte';

const MARGIN = 0.25; // around what is in sight

export class ClickUse implements ToolUse {
  private at: (Sample & { negative: boolean }) | null = null;
  private window: Box | null = null; // of the first click, so that later ones refine the same answer
  private asking: AbortController | null = null;

  constructor(
    private readonly session: LabelSession,
    private readonly draft: Draft,
  ) {}

  press(at: Sample, negative: boolean): void {
    this.at = this.session.refuses(this.session.key) ? null : { ...at, negative };
  }

  drag(to: readonly Sample[]): void {
    const last = to.at(-1);
    if (this.at && last) this.at = { ...this.at, ...last };
  }

  lift(): void {
    const { at } = this;
    this.at = null;
    const { image, visible } = this.session;
    if (!at || !image || !visible) return;
    const point = { x: Math.floor(at.x), y: Math.floor(at.y), positive: !at.negative };
    if (point.x < 0 || point.y < 0 || point.x >= image.width || point.y >= image.height) return;
    if (!this.draft.points.length) this.window = this.around(visible);
    else this.window = union(this.window, { x: point.x, y: point.y, w: 1, h: 1 });
    this.draft.points = [...this.draft.points, point];
    void this.ask();
  }

  abandon(): void {
    this.at = null;
  }

  backspace(): void {
    if (!this.draft.points.length) return;
    this.draft.points = this.draft.points.slice(0, -1);
    this.session.say('Last click taken back');
    if (this.draft.points.length) void this.ask();
    else this.draft.preview = null;
  }

  enter(): void {
    const { draft, session } = this;
    const { preview } = draft;
    if (!preview || draft.busy) return session.say(draft.busy ? 'Wait for the object' : 'Click an object first');
    const edit = session.begin();
    edit.region(preview, preview.mask, preview.key);
    draft.clear();
    session.finish('click', preview.key);
  }

  stop(): void {
    this.asking?.abort();
  }

  private around({ x, y, w, h }: Box): Box {
    const { image } = this.session;
    const [dx, dy] = [Math.ceil(w * MARGIN), Math.ceil(h * MARGIN)];
    const box = { x: x - dx, y: y - dy, w: w + 2 * dx, h: h + 2 * dy };
    return intersection(box, { x: 0, y: 0, w: image!.width, h: image!.height })!;
  }

  private async ask(): Promise<void> {
    const { session, draft } = this;
    const { image, key, client } = session;
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    draft.busy = 'Looking for the object';
    try {
      const request = { points: draft.points, window: this.window!, key };
      const region = await api.clickObject(image!.id, client, request, asking.signal);
      if (asking.signal.aborted) return;
      draft.preview = { ...region, key };
      session.say('Enter accepts the object; Shift and click leaves a part out');
    } catch (error) {
      if (!asking.signal.aborted) session.fails(error);
    } finally {
      if (this.asking === asking) draft.busy = '';
    }
  }
}
