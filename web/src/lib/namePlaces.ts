// Where the name of each class can stand on the mask: in the middle of the roundest free space that the class has.

import { VOID } from './paint';
import type { Prediction } from './types';

export interface Place {
  id: number; // class
  x: number; // 0–1 of the image's width
  y: number; // 0–1 of its height
  room: number; // radius of the free space around it, 0–1 of the image's width
}

const LONGEST = 192; // labels are looked at this small: a name needs more room than a pixel

/**
 * The best place of every class that is there, the roomiest first.
 *
 * Distances to the next border of a class by two passes over the image (Rosenfeld and Pfaltz 1966).
 */
export function namePlaces(prediction: Pick<Prediction, 'labels' | 'width' | 'height'>): Place[] {
  const scale = Math.min(1, LONGEST / Math.max(prediction.width, prediction.height));
  const columns = Math.max(1, Math.round(prediction.width * scale));
  const rows = Math.max(1, Math.round(prediction.height * scale));
  const small = new Uint8Array(columns * rows);
  for (let row = 0, at = 0; row < rows; row++) {
    const y = Math.floor(((row + 0.5) * prediction.height) / rows);
    for (let column = 0; column < columns; column++, at++)
      small[at] = prediction.labels[y * prediction.width + Math.floor(((column + 0.5) * prediction.width) / columns)]!;
  }
  const far = new Float32Array(columns * rows);
  const step = (at: number, row: number, column: number, down: number, across: number, length: number): void => {
    const [r, c] = [row + down, column + across];
    const inside = r >= 0 && c >= 0 && r < rows && c < columns && small[r * columns + c] === small[at];
    far[at] = Math.min(far[at]!, inside ? far[r * columns + c]! + length : length);
  };
  far.fill(columns + rows);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      for (const [down, across, length] of BEFORE) step(at, row, column, down, across, length);
    }
  }
  for (let row = rows - 1, at = rows * columns - 1; row >= 0; row--) {
    for (let column = columns - 1; column >= 0; column--, at--) {
      for (const [down, across, length] of BEFORE) step(at, row, column, -down, -across, length);
    }
  }
  const best = new Map<number, number>();
  for (let at = 0; at < small.length; at++)
    if ((small[at] !== VOID && !best.has(small[at]!)) || far[at]! > far[best.get(small[at]!)!]!)
      best.set(small[at]!, at);
  return [...best]
    .map(([id, at]) => ({
      id,
      x: ((at % columns) + 0.5) / columns,
      y: (Math.floor(at / columns) + 0.5) / rows,
      room: far[at]! / columns,
    }))
    .sort((p, q) => q.room - p.room);
}

const BEFORE = [
  [0, -1, 1],
  [-1, 0, 1],
  [-1, -1, Math.SQRT2],
  [-1, 1, Math.SQRT2],
] as const; // the neighbours that a pass has seen

/** Those of the names that can be read: where there is room for a line, and none lies on another. Sizes in pixels of the screen. */
export function readable(
  places: readonly Place[],
  names: readonly string[],
  width: number,
  height: number,
  letter = 7,
  line = 18,
): Place[] {
  const kept: (Place & { half: number })[] = [];
  for (const place of places) {
    if (place.room * width < line * 0.5) continue;
    const half = ((names[place.id]?.length ?? 0) * letter) / 2 + 4;
    const x = Math.min(Math.max(place.x * width, half), width - half) / width;
    if (
      kept.every(
        (other) => Math.abs(other.x - x) * width > half + other.half || Math.abs(other.y - place.y) * height > line,
      )
    )
      kept.push({ ...place, x, half });
  }
  return kept;
}
