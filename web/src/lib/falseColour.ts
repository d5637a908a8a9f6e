// Which three bands of an image are shown as red, green and blue, and how their values become brightness.

import type { ModelBands } from './types';

export interface BandView {
  shown: [number, number, number]; // bands, counted from 0
  window: [number, number] | null; // the values shown black and brightest; null: each band's own range in the model
}

/** How a model's images are shown at first. */
export function firstView(bands: ModelBands): BandView {
  return { shown: [...bands.shown], window: null };
}

/** The parameters of a picture's address. */
export function viewQuery(view: BandView): Record<string, string | number> {
  const query: Record<string, string | number> = { bands: view.shown.join(',') };
  return view.window ? { ...query, low: view.window[0], high: view.window[1] } : query;
}

/** The window that holds nearly all values of the shown bands of one image. `ranges`: from 2 % to 98 %, for each band. */
export function autoWindow(ranges: [number, number][], shown: readonly number[]): [number, number] {
  const of = shown.flatMap((band) => (ranges[band] ? [ranges[band]] : []));
  const low = Math.min(...of.map((range) => range[0]));
  const high = Math.max(...of.map((range) => range[1]));
  if (!of.length) return [0, 1];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}

/** The range of the shown bands in the model: what the inputs say where no window is chosen. */
export function modelRange(bands: ModelBands, shown: readonly number[]): [number, number] {
  return [Math.min(...shown.map((band) => bands.low[band]!)), Math.max(...shown.map((band) => bands.high[band]!))];
}

/** A window from two inputs; null where they are no window: not numbers, or the second is not higher. */
export function windowOf(low: string, high: string): [number, number] | null {
  const [from, to] = [low, high].map((text) => (text.trim() === '' ? NaN : Number(text)));
  return Number.isFinite(from) && Number.isFinite(to) && from! < to! ? [from!, to!] : null;
}

/** A number for an input: short, and never rounded to nothing. */
export function shortNumber(value: number): string {
  return String(Number(value.toPrecision(5)));
}
