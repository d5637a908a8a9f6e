// Where in an image a channel responds most, and which part of the image that is.

import type { Layer, LayerValues, Prediction } from './types';

export interface StrongPlace {
  x: number; // of the layer's values
  y: number;
  value: number;
}

/** The highest values of a channel, the highest first, each at least `apart` values from the others; none that are not positive. */
export function strongestPlaces(layer: LayerValues, channel: number, many: number, apart: number): StrongPlace[] {
  const { h, w, values } = layer;
  const start = channel * h * w;
  const found: StrongPlace[] = [];
  while (found.length < many) {
    let best: StrongPlace | null = null;
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        const value = values[start + y * w + x]!;
        if (value <= (best?.value ?? 0)) continue;
        if (found.some((one) => Math.abs(one.x - x) < apart && Math.abs(one.y - y) < apart)) continue;
        best = { x, y, value };
      }
    }
    if (!best) break;
    found.push(best);
  }
  return found;
}

export interface ImagePatch {
  x: number; // its middle, pixels of the image
  y: number;
  width: number; // pixels of the image
  height: number;
}

const MOST_STEPS = 10; // of the layer: far more is in a receptive field in theory, but its middle counts most

/** The part of the image that a value is computed from, or its middle where the receptive field is large. */
export function patchOf(place: { x: number; y: number }, layer: Layer, prediction: Prediction): ImagePatch {
  const [, h, w] = layer.shape;
  const steps = Math.max(3, Math.min((layer.view_px ?? Infinity) / (layer.step_px ?? 1), MOST_STEPS));
  return {
    x: Math.min(prediction.width - 1, Math.round(((place.x + 0.5) / w) * prediction.width - 0.5)),
    y: Math.min(prediction.height - 1, Math.round(((place.y + 0.5) / h) * prediction.height - 0.5)),
    width: (Math.min(steps, w) / w) * prediction.width,
    height: (Math.min(steps, h) / h) * prediction.height,
  };
}

/** Draws a patch of the image; grey where it reaches beyond the edge. */
export function paintPatch(
  canvas: HTMLCanvasElement,
  bitmap: ImageBitmap | null,
  { x, y, width, height }: ImagePatch,
  of: Prediction,
  side = 96,
): void {
  canvas.width = side;
  canvas.height = Math.max(1, Math.round((side * height) / width));
  const context = canvas.getContext('2d');
  if (!context) return;
  context.fillStyle = '#808080';
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (!bitmap) return;
  const [u, v] = [bitmap.width / of.width, bitmap.height / of.height];
  context.imageSmoothingEnabled = width * u > side; // few pixels are shown as what they are
  context.drawImage(
    bitmap,
    (x + 0.5 - width / 2) * u,
    (y + 0.5 - height / 2) * v,
    width * u,
    height * v,
    0,
    0,
    canvas.width,
    canvas.height,
  );
}
