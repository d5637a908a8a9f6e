// Where a note beside a point of a chart covers no line. All in pixels of the chart, y downwards.

export interface Point {
  x: number;
  y: number;
}

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const STEP = 5;
const AWAY = 10; // from the point, sideways

/** How many samples of the lines a box would cover. */
export function covered(box: Box, lines: readonly (readonly Point[])[]): number {
  let found = 0;
  for (const line of lines) {
    for (let i = 0; i < line.length; i++) {
      const [from, to] = [line[Math.max(0, i - 1)]!, line[i]!];
      const samples = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 3));
      for (let k = 1; k <= samples; k++) {
        const x = from.x + ((to.x - from.x) * k) / samples;
        const y = from.y + ((to.y - from.y) * k) / samples;
        if (x >= box.left && x <= box.right && y >= box.top && y <= box.bottom) found++;
      }
    }
  }
  return found;
}

/** A box that notes must not cover, as the lines of it that `covered` counts. */
export function filled({ left, top, right, bottom }: Box): Point[][] {
  const rows: Point[][] = [];
  for (let y = top; y <= bottom; y += STEP)
    rows.push([
      { x: left, y },
      { x: right, y },
    ]);
  return rows;
}

/** The place of a note of this size beside `point`, inside `room`: it covers as little as possible, then it is nearest. */
export function notePlace(
  point: Point,
  size: { width: number; height: number },
  room: Box,
  lines: readonly (readonly Point[])[],
): Box {
  let best: { box: Box; cost: number } | null = null;
  const lefts = [point.x + AWAY, point.x - AWAY - size.width];
  for (const wanted of lefts) {
    const left = Math.min(Math.max(wanted, room.left), Math.max(room.left, room.right - size.width));
    for (let top = room.top; top <= Math.max(room.top, room.bottom - size.height); top += STEP) {
      const box = { left, top, right: left + size.width, bottom: top + size.height };
      const away = Math.abs((box.top + box.bottom) / 2 - point.y) + Math.abs(left - wanted);
      const cost = covered(box, lines) * 1000 + away;
      if (!best || cost < best.cost) best = { box, cost };
    }
  }
  return best!.box;
}
