// Polygon and lasso: corners that can be dragged, added and deleted until Enter. With `snap`, sides follow edges.

import * as api from '../labelApi';
import type { Draft, Sample, ToolUse } from './draft.svelte';
import {
  NO_OUTLINE,
  cornerAt,
  ring,
  sideAt,
  simplified,
  withCorner,
  withCornerMoved,
  withoutCorner,
  withPath,
} from './outlineCorners';
import { polygonSpans, type Point } from './polygonFill';
import type { LabelSession } from './session.svelte';

const REACH = 9; // CSS pixels around a corner
const HINT_AFTER_MS = 60;

export class OutlineUse implements ToolUse {
  private held = -1; // the corner that is dragged
  private added = false; // by this press
  private drawing: Point[] | null = null; // a lasso on its way
  private closing = false; // the press was on the first corner
  private moved = false;
  private hinting: AbortController | null = null;
  private hintSoon: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly session: LabelSession,
    private readonly draft: Draft,
    private readonly tool: 'polygon' | 'lasso',
  ) {}

  press({ x, y }: Sample): void {
    if (this.session.refuses(this.session.key)) return;
    const { outline } = this.draft;
    const reach = REACH / this.session.viewport.scale;
    this.moved = this.added = this.closing = false;
    this.held = cornerAt(outline, x, y, reach);
    if (this.held >= 0) {
      this.closing = this.held === 0 && outline.corners.length > 2;
      return;
    }
    const side = outline.corners.length > 2 ? sideAt(outline, x, y, reach) : -1;
    if (side >= 0) {
      this.draft.outline = withCorner(outline, side, [x, y]);
      this.held = side + 1;
      this.added = true;
    } else if (this.tool === 'lasso' && !outline.corners.length) {
      this.drawing = [[x, y]];
      this.draft.outline = { corners: this.drawing, paths: [[]] };
    } else {
      this.held = outline.corners.length;
      this.draft.outline = withCorner(outline, this.held - 1, [x, y]);
      this.added = true;
    }
    this.draft.hint = [];
  }

  drag(to: readonly Sample[]): void {
    const last = to.at(-1);
    if (!last) return;
    this.moved = true;
    if (this.drawing) {
      this.drawing = [...this.drawing, ...to.map(({ x, y }): Point => [x, y])];
      this.draft.outline = { corners: this.drawing, paths: this.drawing.map(() => []) };
    } else if (this.held >= 0) {
      this.draft.outline = withCornerMoved(this.draft.outline, this.held, [last.x, last.y]);
    }
  }

  lift(): void {
    if (this.drawing) {
      const corners = simplified(this.drawing, 1.5 / this.session.viewport.scale);
      this.drawing = null;
      this.draft.outline = corners.length > 2 ? { corners, paths: corners.map(() => []) } : NO_OUTLINE;
      if (corners.length > 2) this.session.say(`${corners.length} corners; Enter fills the area`);
      return;
    }
    const { held } = this;
    this.held = -1;
    if (this.closing && !this.moved) void this.enter();
    else if (held >= 0 && (this.added || this.moved)) {
      const { corners } = this.draft.outline;
      if (this.added) this.session.say(`Corner ${held + 1} of ${corners.length}`);
      if (this.session.snap && this.tool === 'polygon') {
        if (held > 0 || corners.length > 2) void this.follow((held - 1 + corners.length) % corners.length);
        if (held < corners.length - 1) void this.follow(held);
      }
    }
  }

  abandon(): void {
    if (this.drawing) this.draft.outline = NO_OUTLINE;
    else if (this.added && this.held >= 0) this.draft.outline = withoutCorner(this.draft.outline, this.held);
    this.drawing = null;
    this.held = -1;
  }

  /** Shows where a side to the cursor would be. */
  hover({ x, y }: Sample): void {
    const last = this.draft.outline.corners.at(-1);
    if (!last || this.tool !== 'polygon') return;
    if (!this.session.snap) {
      this.draft.hint = [[x, y]];
      return;
    }
    clearTimeout(this.hintSoon);
    this.hintSoon = setTimeout(() => {
      this.hinting?.abort();
      const asking = (this.hinting = new AbortController());
      void this.path(last, [x, y], asking.signal).then((path) => {
        if (path && !asking.signal.aborted && this.draft.outline.corners.at(-1) === last)
          this.draft.hint = [...path, [x, y]];
      });
    }, HINT_AFTER_MS);
  }

  async enter(): Promise<void> {
    const { draft, session } = this;
    const { corners } = draft.outline;
    if (corners.length < 3) return session.say('An area needs three corners');
    if (session.snap && this.tool === 'polygon' && !draft.outline.paths.at(-1)?.length)
      await this.follow(corners.length - 1);
    if (draft.outline.corners !== corners) return;
    const { key } = session;
    const edit = session.begin();
    polygonSpans(ring(draft.outline), session.mask.height, (y, from, to) => edit.span(y, from, to, key));
    this.stop();
    draft.clear();
    session.finish(this.tool, key);
  }

  backspace({ x, y }: Sample): void {
    const { outline } = this.draft;
    if (!outline.corners.length) return;
    const at = cornerAt(outline, x, y, REACH / this.session.viewport.scale);
    this.draft.outline = withoutCorner(outline, at < 0 ? outline.corners.length - 1 : at);
    this.draft.hint = [];
    this.session.say(`Corner deleted; ${this.draft.outline.corners.length} left`);
  }

  stop(): void {
    clearTimeout(this.hintSoon);
    this.hinting?.abort();
  }

  /** Puts the side after corner `from` onto edges of the image. */
  private async follow(from: number): Promise<void> {
    const { corners } = this.draft.outline;
    const [start, end] = [corners[from]!, corners[(from + 1) % corners.length]!];
    const path = await this.path(start, end, new AbortController().signal);
    const now = this.draft.outline;
    const at = now.corners.indexOf(start);
    if (path && at >= 0 && now.corners[(at + 1) % now.corners.length] === end)
      this.draft.outline = { ...withPath(now, at, path), corners: now.corners };
  }

  /** Along edges from one place to another, both left out; null, and said, where it fails. */
  private async path(from: Point, to: Point, signal: AbortSignal): Promise<Point[] | null> {
    const { image } = this.session;
    if (!image) return null;
    const pixel = ([x, y]: Point) => ({
      x: Math.min(Math.max(Math.floor(x), 0), image.width - 1),
      y: Math.min(Math.max(Math.floor(y), 0), image.height - 1),
    });
    try {
      const points = await api.edgePath(image.id, this.session.client, pixel(from), pixel(to), signal);
      return points.slice(1, -1).map(([x, y]): Point => [x + 0.5, y + 0.5]);
    } catch (error) {
      if (!signal.aborted) this.session.fails(error);
      return null;
    }
  }
}
