// An outline that can still be changed: corners, and between them straight lines or paths along edges of the image.

import type { Point } from './polygonFill';

export interface Outline {
  corners: readonly Point[];
  paths: readonly (readonly Point[])[]; // paths[i]: between corner i and the next one, both left out; empty: straight
}

export const NO_OUTLINE: Outline = { corners: [], paths: [] };

/** All points of the closed outline. */
export const ring = ({ corners, paths }: Outline): Point[] =>
  corners.flatMap((corner, i) => [corner, ...(paths[i] ?? [])]);

/** The corner within `reach` of a place, or -1. */
export function cornerAt({ corners }: Outline, x: number, y: number, reach: number): number {
  const distances = corners.map(([u, v]) => Math.hypot(u - x, v - y));
  const nearest = Math.min(...distances);
  return nearest <= reach ? distances.indexOf(nearest) : -1;
}

/** The side, by its first corner, within `reach` of a place, or -1. The side that closes the outline counts, too. */
export function sideAt(outline: Outline, x: number, y: number, reach: number): number {
  const { corners } = outline;
  if (corners.length < 2) return -1;
  const distances = corners.map((corner, i) => {
    const line = [corner, ...(outline.paths[i] ?? []), corners[(i + 1) % corners.length]!];
    return Math.min(...line.slice(1).map((to, j) => fromLine(x, y, line[j]!, to)));
  });
  const nearest = Math.min(...distances);
  return nearest <= reach ? distances.indexOf(nearest) : -1;
}

/** How far (x, y) is from the line between two points. */
function fromLine(x: number, y: number, [ax, ay]: Point, [bx, by]: Point): number {
  const square = (bx - ax) ** 2 + (by - ay) ** 2;
  const along = square ? Math.min(Math.max(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square, 0), 1) : 0;
  return Math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y);
}

/** A corner after corner `after`; -1: the first one. Its two sides are straight. */
export function withCorner({ corners, paths }: Outline, after: number, corner: Point): Outline {
  return {
    corners: corners.toSpliced(after + 1, 0, corner),
    paths: after < 0 ? [[], ...paths] : paths.toSpliced(after, 1, [], []),
  };
}

export function withoutCorner({ corners, paths }: Outline, at: number): Outline {
  const before = (at - 1 + corners.length) % corners.length;
  return { corners: corners.toSpliced(at, 1), paths: paths.with(before, []).toSpliced(at, 1) };
}

export function withCornerMoved({ corners, paths }: Outline, at: number, corner: Point): Outline {
  const before = (at - 1 + corners.length) % corners.length;
  return { corners: corners.with(at, corner), paths: paths.with(before, []).with(at, []) };
}

export const withPath = ({ corners, paths }: Outline, at: number, path: readonly Point[]): Outline => ({
  corners,
  paths: paths.with(at, path),
});

/** The fewest of these points from which the line is nowhere further than `most` (Douglas and Peucker). */
export function simplified(points: readonly Point[], most: number): Point[] {
  const kept = new Set([0, points.length - 1]);
  const parts: [number, number][] = [[0, points.length - 1]];
  while (parts.length) {
    const [from, to] = parts.pop()!;
    let furthest = most;
    let split = -1;
    for (let i = from + 1; i < to; i++) {
      const distance = fromLine(...points[i]!, points[from]!, points[to]!);
      if (distance > furthest) [furthest, split] = [distance, i];
    }
    if (split < 0) continue;
    kept.add(split);
    parts.push([from, split], [split, to]);
  }
  return points.filter((_, i) => kept.has(i));
}
