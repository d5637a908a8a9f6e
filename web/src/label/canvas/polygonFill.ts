// The pixels inside a polygon: those whose centres are. Where it crosses itself, everything it goes around is inside.

import type { Span } from './brushStroke';

export type Point = [number, number];

export function polygonSpans(points: readonly Point[], height: number, span: Span): void {
  const rows = new Map<number, [x: number, turn: number][]>();
  points.forEach(([ax, ay], i) => {
    const [bx, by] = points[(i + 1) % points.length]!;
    if (ay === by) return;
    const turn = ay < by ? 1 : -1;
    const first = Math.max(Math.ceil(Math.min(ay, by) - 0.5), 0);
    const end = Math.min(Math.ceil(Math.max(ay, by) - 0.5), height);
    for (let y = first; y < end; y++) {
      const x = ax + ((bx - ax) * (y + 0.5 - ay)) / (by - ay);
      const row = rows.get(y);
      if (row) row.push([x, turn]);
      else rows.set(y, [[x, turn]]);
    }
  });
  for (const [y, crossings] of rows) {
    crossings.sort((a, b) => a[0] - b[0]);
    let winding = 0;
    let start = 0;
    for (const [x, turn] of crossings) {
      if (winding === 0) start = x;
      winding += turn;
      if (winding !== 0) continue;
      const [from, to] = [Math.ceil(start - 0.5), Math.ceil(x - 0.5)];
      if (to > from) span(y, from, to);
    }
  }
}

/** The pixels of a rectangle with two opposite corners; both corners' pixels belong to it. */
export function rectangleSpans([ax, ay]: Point, [bx, by]: Point, span: Span): void {
  const [left, right] = [Math.floor(Math.min(ax, bx)), Math.floor(Math.max(ax, bx))];
  for (let y = Math.floor(Math.min(ay, by)); y <= Math.floor(Math.max(ay, by)); y++) span(y, left, right + 1);
}
