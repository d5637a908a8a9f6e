// Labels and numbers → colours on a canvas. Classes differ by colour and by hatching; right and wrong by lightness.

import type { ClassRow } from './types';

export const VOID = 255;
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function rgba(r: number, g: number, b: number, a = 255): number {
  return LITTLE_ENDIAN ? ((a << 24) | (b << 16) | (g << 8) | r) >>> 0 : ((r << 24) | (g << 16) | (b << 8) | a) >>> 0;
}

export const css = (colour: readonly [number, number, number]) => `rgb(${colour.join(' ')})`;

const lightness = ([r, g, b]: readonly [number, number, number]) => 0.299 * r + 0.587 * g + 0.114 * b;

/** The second colour of a class's hatching: lighter on dark, darker on light. */
export function hatchColour(colour: readonly [number, number, number]): [number, number, number] {
  const towards = lightness(colour) < 110 ? 255 : 0;
  const mix = (value: number) => Math.round(value + (towards - value) * 0.2);
  return [mix(colour[0]), mix(colour[1]), mix(colour[2])];
}

/** Is (x, y) on a line of the hatching of class `id`? Period in pixels of the picture. */
export function hatched(id: number, x: number, y: number, period: number): boolean {
  switch (id % 4) {
    case 1:
      return (x + y) % period < period / 5;
    case 2:
      return (x - y + 65536 * period) % period < period / 5;
    case 3:
      return y % period < period / 5;
    default:
      return false;
  }
}

export interface MaskOptions {
  hidden: ReadonlySet<number>;
  boundaries: boolean; // only where two classes meet
  hatching: boolean;
}

/** Draws labels [H, W] in class colours. */
export function paintMask(
  canvas: HTMLCanvasElement,
  labels: Uint8Array,
  width: number,
  height: number,
  classes: readonly ClassRow[],
  options: MaskOptions,
): void {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (!context) return;
  const image = context.createImageData(width, height);
  const out = new Uint32Array(image.data.buffer);
  const plain = new Uint32Array(256);
  const lined = new Uint32Array(256);
  classes.forEach(({ colour }, id) => {
    if (options.hidden.has(id)) return;
    plain[id] = rgba(...colour);
    lined[id] = options.hatching ? rgba(...hatchColour(colour)) : plain[id]!;
  });
  const period = Math.max(6, Math.round(Math.max(width, height) / 80));
  if (options.boundaries) {
    const reach = Math.max(1, Math.round(Math.max(width, height) / 500));
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const id = labels[at]!;
        const right = x + reach < width ? labels[at + reach]! : id;
        const below = y + reach < height ? labels[at + reach * width]! : id;
        if (right !== id || below !== id) out[at] = plain[id] ? rgba(255, 255, 255) : 0;
      }
    }
  } else {
    // The hatching repeats: one table for every class and phase spares a decision for each pixel.
    const pattern = new Uint32Array(256 * period);
    for (let y = 0, at = 0; y < height; y++) {
      for (let id = 0; id < classes.length; id++) {
        for (let x = 0; x < period; x++) pattern[id * period + x] = hatched(id, x, y, period) ? lined[id]! : plain[id]!;
      }
      for (let x = 0, phase = 0; x < width; x++, at++) {
        out[at] = pattern[labels[at]! * period + phase]!;
        if (++phase === period) phase = 0;
      }
    }
  }
  context.putImageData(image, 0, 0);
}

/** Right clear, wrong dark with lines, void dotted. */
export function paintRightWrong(canvas: HTMLCanvasElement, labels: Uint8Array, truth: Uint8Array, width: number, height: number): void {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (!context) return;
  const image = context.createImageData(width, height);
  const out = new Uint32Array(image.data.buffer);
  const period = Math.max(6, Math.round(Math.max(width, height) / 80));
  const [dark, line, dot, light] = [rgba(16, 16, 20), rgba(255, 255, 255), rgba(140, 140, 150), rgba(255, 255, 255, 70)];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (truth[at] === VOID) out[at] = x % period < 2 && y % period < 2 ? line : dot;
      else if (truth[at] === labels[at]) out[at] = light;
      else out[at] = (x + y) % period < 2 ? line : dark;
    }
  }
  context.putImageData(image, 0, 0);
}

// One hue from light to dark and back is enough for an amount: dark blue – teal – pale yellow, even in lightness.
const RAMP: [number, number, number][] = [
  [13, 20, 46],
  [24, 68, 98],
  [31, 122, 128],
  [96, 171, 131],
  [190, 212, 138],
  [253, 246, 190],
];

export function ramp(share: number): [number, number, number] {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const low = RAMP[Math.min(Math.floor(place), RAMP.length - 2)]!;
  const high = RAMP[Math.min(Math.floor(place) + 1, RAMP.length - 1)]!;
  const f = place - Math.min(Math.floor(place), RAMP.length - 2);
  return [0, 1, 2].map((i) => Math.round(low[i]! + (high[i]! - low[i]!) * f)) as [number, number, number];
}

const RAMP_TABLE = Uint32Array.from({ length: 256 }, (_, i) => rgba(...ramp(i / 255)));

/** Draws values [rows, columns] from `low` (dark) to `high` (light). */
export function paintAmounts(
  canvas: HTMLCanvasElement,
  values: Float32Array,
  columns: number,
  rows: number,
  low: number,
  high: number,
  start = 0,
): void {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  if (!context) return;
  const image = context.createImageData(columns, rows);
  const out = new Uint32Array(image.data.buffer);
  const scale = 255 / Math.max(high - low, 1e-9);
  for (let i = 0; i < out.length; i++) {
    out[i] = RAMP_TABLE[Math.min(255, Math.max(0, Math.round((values[start + i]! - low) * scale)))]!;
  }
  context.putImageData(image, 0, 0);
}

export function extent(values: Float32Array, start = 0, count = values.length): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (let i = start; i < start + count; i++) {
    const value = values[i]!;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
