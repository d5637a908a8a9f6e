// Labels and numbers → colours on a canvas. Classes differ by colour and by hatching; right and wrong by lightness.

import type { Prediction } from './types';

export const VOID = 255;
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

export function rgba(r: number, g: number, b: number, a = 255): number {
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

/** Fills a canvas of that size: `colour` puts each pixel, as rgba() gives it, into `out` [rows, columns]. */
function fill(canvas: HTMLCanvasElement, columns: number, rows: number, colour: (out: Uint32Array) => void): void {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  if (!context) return;
  const image = context.createImageData(columns, rows);
  colour(new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
}

const hatchPeriod = (width: number, height: number) => Math.max(6, Math.round(Math.max(width, height) / 80));

export interface MaskOptions {
  hidden: ReadonlySet<number>;
  boundaries: boolean; // only where two classes meet
  hatching: boolean;
  outlined?: boolean; // a light line where two classes meet, for dark photos
}

export const PLAIN: MaskOptions = { hidden: new Set(), boundaries: false, hatching: false };

const DARK = 75; // mean lightness of a photo on which dark colours run together

/** Is the image so dark that colours over it run together? */
export function isDark(bitmap: ImageBitmap): boolean {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 16;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) return false;
  context.drawImage(bitmap, 0, 0, 16, 16);
  const { data } = context.getImageData(0, 0, 16, 16);
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) sum += lightness([data[i]!, data[i + 1]!, data[i + 2]!]);
  return sum / 256 < DARK;
}

/** Draws labels [H, W] in class colours. */
export function paintMask(
  canvas: HTMLCanvasElement,
  prediction: Pick<Prediction, 'labels' | 'width' | 'height' | 'classes'>,
  options: MaskOptions = PLAIN,
): void {
  const { labels, width, height, classes } = prediction;
  const plain = new Uint32Array(256);
  const lined = new Uint32Array(256);
  classes.forEach(({ colour }, id) => {
    if (options.hidden.has(id)) return;
    plain[id] = rgba(...colour);
    lined[id] = options.hatching ? rgba(...hatchColour(colour)) : plain[id];
  });
  const draw = options.boundaries ? drawBoundaries : drawAreas;
  fill(canvas, width, height, (out) => {
    draw(out, labels, width, height, plain, lined);
    if (options.outlined && !options.boundaries) drawBoundaries(out, labels, width, height, plain);
  });
}

/** White where two classes meet. */
function drawBoundaries(out: Uint32Array, labels: Uint8Array, width: number, height: number, plain: Uint32Array): void {
  const reach = Math.max(1, Math.round(Math.max(width, height) / 500));
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const id = labels[at]!;
      const right = x + reach < width ? labels[at + reach]! : id;
      const below = y + reach < height ? labels[at + reach * width]! : id;
      if (right !== id || below !== id) out[at] = plain[id] ? rgba(255, 255, 255) : 0;
    }
  }
}

/** Each area in its colour, with the lines of its hatching. */
function drawAreas(
  out: Uint32Array,
  labels: Uint8Array,
  width: number,
  height: number,
  plain: Uint32Array,
  lined: Uint32Array,
): void {
  const period = hatchPeriod(width, height);
  // The hatching repeats: one table for every class and phase spares a decision for each pixel.
  const pattern = new Uint32Array(256 * period);
  for (let y = 0, at = 0; y < height; y++) {
    for (let id = 0; id < 256; id++) {
      if (!plain[id]) continue;
      for (let x = 0; x < period; x++) pattern[id * period + x] = hatched(id, x, y, period) ? lined[id]! : plain[id]!;
    }
    for (let x = 0, phase = 0; x < width; x++, at++) {
      out[at] = pattern[labels[at]! * period + phase]!;
      if (++phase === period) phase = 0;
    }
  }
}

/** Draws pixels, each in the colour that `colour` gives as rgba() does; 0 is clear. */
export function paintPixels(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  colour: (i: number) => number,
): void {
  fill(canvas, width, height, (out) => {
    for (let i = 0; i < out.length; i++) out[i] = colour(i);
  });
}

/** Colours of objects, far apart for neighbours in number. */
export function objectColour(number: number): [number, number, number] {
  const hue = (number * 137.508) % 360; // the golden angle
  const light = 0.5 + 0.14 * ((number % 3) - 1);
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - 0.75 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** Right clear, wrong dark with lines, void dotted. */
export function paintRightWrong(
  canvas: HTMLCanvasElement,
  { labels, width, height }: Prediction,
  truth: Uint8Array,
): void {
  const period = hatchPeriod(width, height);
  const [dark, line, dot, light] = [
    rgba(16, 16, 20),
    rgba(255, 255, 255),
    rgba(140, 140, 150),
    rgba(255, 255, 255, 70),
  ];
  fill(canvas, width, height, (out) => {
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        if (truth[at] === VOID) out[at] = x % period < 2 && y % period < 2 ? line : dot;
        else if (truth[at] === labels[at]) out[at] = light;
        else out[at] = (x + y) % period < 2 ? line : dark;
      }
    }
  });
}

/** A drawing of class `id` against labels: right light, missed dark with lines, too much dotted, all else clear. */
export function paintDrawn(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  drawn: (i: number) => boolean,
  label: (i: number) => number,
  id: number,
): void {
  const period = hatchPeriod(width, height);
  const [dark, line, light] = [rgba(16, 16, 20), rgba(255, 255, 255), rgba(255, 255, 255, 190)];
  fill(canvas, width, height, (out) => {
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        if (label(at) === VOID) continue;
        const [mine, real] = [drawn(at), label(at) === id];
        if (mine && real) out[at] = light;
        else if (real) out[at] = (x + y) % period < 2 ? line : dark;
        else if (mine) out[at] = x % period < 3 && y % period < 3 ? line : dark;
      }
    }
  });
}

/** Draws the image itself, at its own size or a smaller one. Empty where the browser cannot show it. */
export function paintPhoto(
  canvas: HTMLCanvasElement,
  bitmap: ImageBitmap | null,
  width: number,
  height: number,
  smooth = true, // masks are not: a colour between two classes would be a third
): void {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (!bitmap || !context) return;
  context.imageSmoothingEnabled = smooth;
  context.drawImage(bitmap, 0, 0, width, height);
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

/** The colour of text on that of `ramp`. */
export const rampInk = (share: number) => (share > 0.45 ? '#101218' : '#ffffff');

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
  const scale = 255 / Math.max(high - low, 1e-9);
  fill(canvas, columns, rows, (out) => {
    for (let i = 0; i < out.length; i++) {
      out[i] = RAMP_TABLE[Math.min(255, Math.max(0, Math.round((values[start + i]! - low) * scale)))]!;
    }
  });
}

/** One plane of values [planes, rows, columns], from its own lowest (dark) to its highest (light). */
export function paintPlane(
  canvas: HTMLCanvasElement,
  values: Float32Array,
  columns: number,
  rows: number,
  plane: number,
): void {
  const size = rows * columns;
  const [low, high] = extent(values, plane * size, size);
  paintAmounts(canvas, values, columns, rows, low, high, plane * size);
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
