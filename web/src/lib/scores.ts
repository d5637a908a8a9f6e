// Probabilities of any pixel from the low-resolution scores: one bilinear look-up and a softmax, as the graph does it.
// Shapes: C classes; h, w the size of the scores.

import type { Prediction, ModelFacts } from './types';

export type ScoreMaps = Pick<Prediction, 'scores' | 'h' | 'w' | 'temperature'>;
export type ScoredImage = ScoreMaps & Pick<Prediction, 'width' | 'height'> & { classes: readonly unknown[] };

/** Scores at the relative position (u, v), 0–1 from the left and top edge, divided by the temperature. */
export function scoresAt(prediction: ScoreMaps, u: number, v: number, out: Float64Array): Float64Array {
  const { h, w, scores, temperature } = prediction;
  const x = Math.min(Math.max(u * w - 0.5, 0), w - 1);
  const y = Math.min(Math.max(v * h - 0.5, 0), h - 1);
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  const x1 = Math.min(x0 + 1, w - 1);
  const y1 = Math.min(y0 + 1, h - 1);
  const fx = x - x0;
  const fy = y - y0;
  const [a, b, c, d] = [y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1];
  const [wa, wb, wc, wd] = [(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx];
  for (let i = 0, plane = 0; i < out.length; i++, plane += h * w) {
    out[i] =
      (wa * scores[plane + a]! + wb * scores[plane + b]! + wc * scores[plane + c]! + wd * scores[plane + d]!) /
      temperature;
  }
  return out;
}

/** In place. */
export function softmax(values: Float64Array): Float64Array {
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] = Math.exp(values[i]! - highest);
  for (let i = 0; i < values.length; i++) values[i]! /= sum;
  return values;
}

/** The probability of every class at pixel (x, y), in class order. */
export function probabilities(prediction: ScoredImage, x: number, y: number): Float64Array {
  return softmax(
    scoresAt(
      prediction,
      (x + 0.5) / prediction.width,
      (y + 0.5) / prediction.height,
      new Float64Array(prediction.classes.length),
    ),
  );
}

/** The most likely classes of pixel (x, y), the likeliest first. */
export function topClasses(prediction: ScoredImage, x: number, y: number, many: number): { id: number; p: number }[] {
  const p = probabilities(prediction, x, y);
  return [...p.keys()]
    .sort((a, b) => p[b]! - p[a]!)
    .slice(0, many)
    .map((id) => ({ id, p: p[id]! }));
}

export function entropyBits(p: Float64Array): number {
  let sum = 0;
  for (const value of p) if (value > 0) sum -= value * Math.log2(value);
  return sum;
}

export interface Uncertainty {
  confidence: Float32Array; // [rows, columns], the highest probability
  entropy: Float32Array; // [rows, columns], bits
  rows: number;
  columns: number;
}

/** Confidence and entropy on a grid of real pixels: every pixel of a small image, evenly chosen ones of a large one. */
export function uncertainty(prediction: Prediction, longest = 512): Uncertainty {
  const scale = Math.min(1, longest / Math.max(prediction.width, prediction.height));
  const columns = Math.max(1, Math.round(prediction.width * scale));
  const rows = Math.max(1, Math.round(prediction.height * scale));
  const confidence = new Float32Array(rows * columns);
  const entropy = new Float32Array(rows * columns);
  const p = new Float64Array(prediction.classes.length);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      softmax(scoresAt(prediction, (column + 0.5) / columns, (row + 0.5) / rows, p));
      let highest = 0;
      for (const value of p) if (value > highest) highest = value;
      confidence[at] = highest;
      entropy[at] = entropyBits(p);
    }
  }
  return { confidence, entropy, rows, columns };
}

export interface ReceptiveField {
  x: number;
  y: number;
  width: number;
  height: number;
  all: boolean; // it covers the whole image
}

/** The receptive field of a pixel's scores, in pixels of the image; null where the model's is not known. */
export function receptiveFieldAt(
  prediction: Prediction,
  model: ModelFacts,
  x: number,
  y: number,
): ReceptiveField | null {
  if (!model.receptive_field) return null;
  const size = model.receptive_field.network_px;
  const halfX = ((size / 2) * prediction.width) / (prediction.w * model.stride);
  const halfY = ((size / 2) * prediction.height) / (prediction.h * model.stride);
  const left = Math.max(0, x + 0.5 - halfX);
  const top = Math.max(0, y + 0.5 - halfY);
  const width = Math.min(prediction.width, x + 0.5 + halfX) - left;
  const height = Math.min(prediction.height, y + 0.5 + halfY) - top;
  return { x: left, y: top, width, height, all: width >= prediction.width && height >= prediction.height };
}
