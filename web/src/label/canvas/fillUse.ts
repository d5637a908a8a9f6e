// Flood fill by colour, and superpixels: areas that the image itself suggests.

import * as api from '../labelApi';
import type { Box } from '../labelTypes';
import type { Draft, Sample, ToolUse } from './draft.svelte';
import { floodByColour, reachesEdge } from './floodFill';
import { intersection, type MaskEdit } from './maskEdit';
import type { LabelSession } from './session.svelte';

const MOST_FLOOD_PX = 16_000_000;
const MOST_SUPERPIXEL_PX = 4_000_000;

/** What is in sight; where that is more than `most` pixels, a square of so many around a place. */
function windowAround(session: LabelSession, { x, y }: Sample, most: number): Box | null {
  const { visible } = session;
  if (!visible || visible.w * visible.h <= most) return visible;
  const side = Math.floor(Math.sqrt(most));
  return intersection(visible, { x: Math.floor(x) - (side >> 1), y: Math.floor(y) - (side >> 1), w: side, h: side });
}

const holds = (box: Box, x: number, y: number) => x >= box.x && y >= box.y && x < box.x + box.w && y < box.y + box.h;

export class FloodUse implements ToolUse {
  private at: Sample | null = null;

  constructor(
    private readonly session: LabelSession,
    private readonly draft: Draft,
    private readonly pixels: (box: Box) => Promise<Uint8ClampedArray>,
  ) {}

  press(at: Sample): void {
    this.at = this.session.refuses(this.session.key) ? null : at;
  }

  drag(to: readonly Sample[]): void {
    if (this.at) this.at = to.at(-1) ?? this.at;
  }

  lift(): void {
    if (this.at) void this.fill(this.at);
    this.at = null;
  }

  abandon(): void {
    this.at = null;
  }

  private async fill(at: Sample): Promise<void> {
    const { session, draft } = this;
    const box = windowAround(session, at, MOST_FLOOD_PX);
    const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
    if (!box || !holds(box, x, y) || draft.busy) return;
    const { image, key, tolerance } = session;
    draft.busy = 'Filling';
    try {
      const rgba = await this.pixels(box);
      if (session.image?.id !== image?.id) return;
      const inside = floodByColour(rgba, box.w, box.h, x - box.x, y - box.y, tolerance);
      const edit = session.begin();
      edit.region(box, inside, key);
      const cut = reachesEdge(inside, box.w, box.h);
      session.finish('flood', key, 'person', cut ? '; up to the edge of what is in sight' : '');
    } catch (error) {
      session.fails(error);
    } finally {
      draft.busy = '';
    }
  }
}

type Areas = api.Superpixels & { image: string; size: number };

export class SuperpixelUse implements ToolUse {
  private edit: MaskEdit | null = null;
  private areas: Areas | null = null;
  private asking: Promise<Areas | null> | null = null;
  private filling = 0; // fills that wait for their areas
  private lifted = false;
  private shown = -1;

  constructor(
    private readonly session: LabelSession,
    private readonly draft: Draft,
  ) {}

  press(at: Sample): void {
    if (this.session.refuses(this.session.key)) return;
    this.edit = this.session.begin();
    this.lifted = false;
    void this.fill([at]);
  }

  drag(to: readonly Sample[]): void {
    if (this.edit) void this.fill(to);
  }

  lift(): void {
    this.lifted = true;
    if (this.edit && !this.filling) this.finish(); // else the last fill does
  }

  abandon(): void {
    this.edit = null;
    this.session.cancelEdit();
  }

  hover(at: Sample): void {
    void this.around(at).then((areas) => {
      const id = areas ? idAt(areas, at) : -1;
      if (!areas || id < 0 || id === this.shown || this.session.tool !== 'superpixel') return;
      this.shown = id;
      this.draft.preview = { ...cut(areas, id), key: this.session.key };
    });
  }

  private async fill(samples: readonly Sample[]): Promise<void> {
    const { edit } = this;
    if (!edit) return;
    this.filling++;
    const areas = await this.around(samples[0]!);
    this.filling--;
    if (this.edit !== edit) return;
    if (areas) this.paint(edit, areas, samples);
    if (this.lifted && !this.filling) this.finish();
  }

  private paint(edit: MaskEdit, areas: Areas, samples: readonly Sample[]): void {
    for (const id of new Set(samples.map((at) => idAt(areas, at)))) {
      if (id < 0) continue;
      const { mask, ...box } = cut(areas, id);
      edit.region(box, mask, this.session.key);
    }
    this.session.show();
  }

  private finish(): void {
    this.edit = null;
    this.session.finish('superpixel', this.session.key);
  }

  /** The superpixels of what is in sight, asked for where those at hand do not do. */
  private async around(at: Sample): Promise<Areas | null> {
    await this.asking; // the answer on its way may do
    const { session, areas } = this;
    const { image, superpixelSize: size } = session;
    const box = windowAround(session, at, MOST_SUPERPIXEL_PX);
    const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
    if (!image || !box || !holds(box, x, y)) return null;
    if (areas && areas.image === image.id && areas.size === size && holds(areas.window, x, y)) return areas;
    this.asking ??= this.ask(image.id, box, size);
    return this.asking;
  }

  private async ask(image: string, box: Box, size: number): Promise<Areas | null> {
    const { session, draft } = this;
    draft.busy = 'Looking for areas';
    try {
      const found = await api.superpixels(image, session.client, box, size, new AbortController().signal);
      this.areas = { ...found, image, size };
      this.shown = -1;
      return this.areas;
    } catch (error) {
      session.fails(error);
      return null;
    } finally {
      this.asking = null;
      draft.busy = '';
    }
  }
}

function idAt({ window, ids }: api.Superpixels, at: Sample): number {
  const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
  return holds(window, x, y) ? ids[(y - window.y) * window.w + x - window.x]! : -1;
}

/** One superpixel as a region. */
function cut({ window, ids }: api.Superpixels, id: number): Box & { mask: Uint8Array } {
  let [left, top, right, bottom] = [window.w, window.h, -1, -1];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] !== id) continue;
    const [x, y] = [i % window.w, Math.floor(i / window.w)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = y;
  }
  const [w, h] = [right - left + 1, bottom - top + 1];
  const mask = new Uint8Array(w * h);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) mask[y * w + x] = Number(ids[(top + y) * window.w + left + x] === id);
  return { x: window.x + left, y: window.y + top, w, h, mask };
}
