// The mask as it is on the screen, pixel of the screen by pixel of the screen: its cost depends on the screen, not on
// the image, and edges are sharp at every zoom. Labels are full areas; what is proposed is dotted, with a dashed outline.

import { hatchColour, hatched, rgba } from '../../lib/paint';
import { VOID_KEY, type Box, type LabelClass, type Proposal, type Region } from '../labelTypes';
import { PERSON, type LabelMask } from './maskEdit';
import type { Viewport } from './viewport';

const HATCH_PERIOD = 10; // CSS pixels
const DASH = 4;
const LINE = 1.5; // width of outlines

export interface Look {
  opacity: number;
  outlines: boolean;
  hatching: boolean;
  hidden: readonly number[];
}

/** Colours of each key, as pixels. */
export interface Palette {
  area: Uint32Array;
  hatch: Uint32Array;
  line: Uint32Array; // of outlines
  outlines: boolean;
  hatching: boolean;
}

export function palette(classes: readonly LabelClass[], { opacity, outlines, hatching, hidden }: Look): Palette {
  const [area, hatch, line] = [new Uint32Array(256), new Uint32Array(256), new Uint32Array(256)];
  const alpha = Math.round(opacity * 255);
  for (const { key, colour } of classes) {
    if (hidden.includes(key)) continue;
    area[key] = rgba(...colour, alpha);
    hatch[key] = rgba(...hatchColour(colour), Math.min(alpha * 1.5, 255));
    line[key] = rgba(...colour);
  }
  return { area, hatch, line, outlines, hatching };
}

/** Which pixel of the image is at each column, or row, of the screen; -1 beyond its edges. */
export function places(start: number, scale: number, length: number, limit: number): Int32Array {
  return Int32Array.from({ length }, (_, at) => {
    const place = Math.floor(start + (at + 0.5) / scale);
    return place >= 0 && place < limit ? place : -1;
  });
}

export interface Scene {
  mask: LabelMask;
  proposal: Proposal | null;
  preview: (Region & { key: number }) | null;
  palette: Palette;
}

export class ScreenMap {
  readonly columns: Int32Array;
  readonly rows: Int32Array;
  readonly period: number;
  readonly dash: number;
  readonly reach: number;
  readonly shiftX: number; // patterns move with the image
  readonly shiftY: number;

  /** `width` and `height` in pixels of the screen, `ratio` of them for each CSS pixel. */
  constructor(view: Viewport, mask: LabelMask, width: number, height: number, ratio: number) {
    const scale = view.scale * ratio;
    this.columns = places(view.left, scale, width, mask.width);
    this.rows = places(view.top, scale, height, mask.height);
    this.period = Math.round(HATCH_PERIOD * ratio);
    this.dash = Math.max(Math.round(DASH * ratio), 2);
    this.reach = Math.max(Math.round(LINE * ratio), 1);
    const cycle = this.period * this.dash * 4;
    const shift = (start: number) => ((Math.round(start * scale) % cycle) + cycle) % cycle;
    this.shiftX = shift(view.left);
    this.shiftY = shift(view.top);
  }
}

/** The part of the screen, in its pixels, where a box of the image is, and where outlines next to it change. */
export function screenBox(map: ScreenMap, view: Viewport, ratio: number, box: Box): Box | null {
  const scale = view.scale * ratio;
  const side = (start: number, from: number, length: number, limit: number) => {
    const first = Math.max(Math.floor((from - start) * scale) - map.reach, 0);
    const last = Math.min(Math.ceil((from + length - start) * scale) + map.reach, limit);
    return [first, last - first] as const;
  };
  const [x, w] = side(view.left, box.x, box.w, map.columns.length);
  const [y, h] = side(view.top, box.y, box.h, map.rows.length);
  return w > 0 && h > 0 ? { x, y, w, h } : null;
}

/** Draws a part of the screen into `out` [rows of the screen, columns]. */
export function paintScreen(out: Uint32Array, map: ScreenMap, part: Box, scene: Scene): void {
  const stride = map.columns.length;
  for (let y = part.y; y < part.y + part.h; y++) {
    const row = map.rows[y]!;
    const at = y * stride;
    if (row < 0) {
      out.fill(0, at + part.x, at + part.x + part.w);
      continue;
    }
    if (scene.palette.outlines) outlineRow(out, map, part, scene, y);
    else areaRow(out, map, part, scene, y);
    if (scene.proposal) proposalRow(out, map, part, scene, scene.proposal, y);
    if (scene.preview) previewRow(out, map, part, scene.preview, scene.palette, y);
  }
}

function areaRow(out: Uint32Array, map: ScreenMap, part: Box, { mask, palette: colours }: Scene, y: number): void {
  const { columns, period } = map;
  const from = map.rows[y]! * mask.width;
  const { area, hatch } = colours;
  const at = y * columns.length;
  for (let x = part.x; x < part.x + part.w; x++) {
    const column = columns[x]!;
    out[at + x] = column < 0 ? 0 : area[mask.keys[from + column]!]!;
  }
  if (!colours.hatching) return;
  for (let x = part.x; x < part.x + part.w; x++) {
    const column = columns[x]!;
    if (column < 0 || !out[at + x]) continue;
    const key = mask.keys[from + column]!;
    if (hatched(key, x + map.shiftX, y + map.shiftY, period)) out[at + x] = hatch[key]!;
  }
}

/** Each class has its outline on its own side of the border. */
function outlineRow(out: Uint32Array, map: ScreenMap, part: Box, { mask, palette: colours }: Scene, y: number): void {
  const { columns, rows, reach } = map;
  const { keys, width } = mask;
  const from = rows[y]! * width;
  const above = rowNear(rows, y - reach, y) * width;
  const below = rowNear(rows, y + reach, y) * width;
  const at = y * columns.length;
  for (let x = part.x; x < part.x + part.w; x++) {
    const column = columns[x]!;
    out[at + x] = 0;
    if (column < 0) continue;
    const key = keys[from + column]!;
    const left = rowNear(columns, x - reach, x);
    const right = rowNear(columns, x + reach, x);
    const border =
      keys[from + left] !== key ||
      keys[from + right] !== key ||
      keys[above + column] !== key ||
      keys[below + column] !== key;
    if (border) out[at + x] = colours.line[key]!;
  }
}

/** The place of the image at a column or row of the screen; beyond the edges, that at `own`. */
const rowNear = (places_: Int32Array, at: number, own: number) => {
  const place = places_[at] ?? -1;
  return place < 0 ? places_[own]! : place;
};

/** Dots, and dashes around: told apart from labels without colour. */
function proposalRow(
  out: Uint32Array,
  map: ScreenMap,
  part: Box,
  { mask, palette: colours }: Scene,
  { window, labels }: Proposal,
  y: number,
): void {
  const { columns, rows, reach, dash, shiftX, shiftY } = map;
  const row = rows[y]! - window.y;
  if (row < 0 || row >= window.h) return;
  const at = y * columns.length;
  const shown = (imageRow: number, column: number): number => {
    const [u, v] = [column - window.x, imageRow - window.y];
    if (u < 0 || v < 0 || u >= window.w || v >= window.h) return VOID_KEY;
    const i = imageRow * mask.width + column;
    const key = labels[v * window.w + u]!;
    return mask.drawn[i] === PERSON || key === mask.keys[i] ? VOID_KEY : key;
  };
  const own = rows[y]!;
  const above = rowNear(rows, y - reach, y);
  const below = rowNear(rows, y + reach, y);
  const half = dash >> 1;
  for (let x = part.x; x < part.x + part.w; x++) {
    const column = columns[x]!;
    if (column < 0) continue;
    const key = shown(own, column);
    if (key === VOID_KEY || !colours.line[key]) continue;
    const border =
      shown(own, rowNear(columns, x - reach, x)) !== key ||
      shown(own, rowNear(columns, x + reach, x)) !== key ||
      shown(above, column) !== key ||
      shown(below, column) !== key;
    const [u, v] = [x + shiftX, y + shiftY];
    if (border) out[at + x] = (u + v) % (2 * dash) < dash ? colours.line[key] : DARK;
    else if (!colours.outlines && u % dash < half && (v + (Math.floor(u / dash) % 2) * half) % dash < half)
      out[at + x] = colours.line[key]!;
  }
}

const DARK = rgba(0, 0, 0, 140);
const WHITE = rgba(255, 255, 255);

/** What a click would paint: an area in the class's colour within a black and white dashed line. */
function previewRow(
  out: Uint32Array,
  map: ScreenMap,
  part: Box,
  preview: Region & { key: number },
  colours: Palette,
  y: number,
): void {
  const { columns, rows, reach, dash, shiftX, shiftY } = map;
  const row = rows[y]! - preview.y;
  if (row < 0 || row >= preview.h) return;
  const at = y * columns.length;
  const inside = (imageRow: number, column: number): boolean => {
    const [u, v] = [column - preview.x, imageRow - preview.y];
    return u >= 0 && v >= 0 && u < preview.w && v < preview.h && preview.mask[v * preview.w + u] === 1;
  };
  const above = rowNear(rows, y - reach, y);
  const below = rowNear(rows, y + reach, y);
  for (let x = part.x; x < part.x + part.w; x++) {
    const column = columns[x]!;
    if (column < 0 || !inside(rows[y]!, column)) continue;
    const border =
      !inside(rows[y]!, rowNear(columns, x - reach, x)) ||
      !inside(rows[y]!, rowNear(columns, x + reach, x)) ||
      !inside(above, column) ||
      !inside(below, column);
    if (border) out[at + x] = (x + y + shiftX + shiftY) % (2 * dash) < dash ? WHITE : DARK;
    else out[at + x] = colours.area[preview.key] || DARK;
  }
}
