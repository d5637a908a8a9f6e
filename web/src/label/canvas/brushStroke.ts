// The pixels under a round brush that is moved: those whose centres it passes over.

/** Row y from x = from to x < to. */
export type Span = (y: number, from: number, to: number) => void;

/** From (x0, y0) to (x1, y1) with a brush of `size` pixels. The pixels that hold the line are always covered. */
export function brushSegment(x0: number, y0: number, x1: number, y1: number, size: number, span: Span): void {
  const r = size / 2;
  if (size > 1) {
    const last = Math.floor(Math.max(y0, y1) + r);
    for (let y = Math.floor(Math.min(y0, y1) - r); y <= last; y++) capsuleRow(x0, y0, x1, y1, r, y, span);
  }
  if (size < 2) pixelLine(Math.floor(x0), Math.floor(y0), Math.floor(x1), Math.floor(y1), span);
}

/** What a capsule, all places within r of a line, has of a row: one interval, as it is convex. */
function capsuleRow(x0: number, y0: number, x1: number, y1: number, r: number, y: number, span: Span): void {
  const middle = y + 0.5;
  let low = Infinity;
  let high = -Infinity;
  const reach = (from: number, to: number) => {
    low = Math.min(low, from);
    high = Math.max(high, to);
  };
  for (const [x, at] of [
    [x0, y0],
    [x1, y1],
  ] as const) {
    const half = r * r - (middle - at) ** 2;
    if (half >= 0) reach(x - Math.sqrt(half), x + Math.sqrt(half));
  }
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length > 0) {
    // the corners of the rectangle between both round ends
    const [nx, ny] = [(-(y1 - y0) / length) * r, ((x1 - x0) / length) * r];
    const corners = [
      [x0 + nx, y0 + ny],
      [x1 + nx, y1 + ny],
      [x1 - nx, y1 - ny],
      [x0 - nx, y0 - ny],
    ] as const;
    corners.forEach(([ax, ay], i) => {
      const [bx, by] = corners[(i + 1) % 4]!;
      if (ay === by || middle < Math.min(ay, by) || middle > Math.max(ay, by)) return;
      const x = ax + ((bx - ax) * (middle - ay)) / (by - ay);
      reach(x, x);
    });
  }
  const from = Math.ceil(low - 0.5);
  const to = Math.floor(high - 0.5) + 1;
  if (to > from) span(y, from, to);
}

/** A line one pixel wide (Bresenham). */
function pixelLine(x: number, y: number, toX: number, toY: number, span: Span): void {
  const dx = Math.abs(toX - x);
  const dy = -Math.abs(toY - y);
  const [sx, sy] = [x < toX ? 1 : -1, y < toY ? 1 : -1];
  for (let error = dx + dy; ;) {
    span(y, x, x + 1);
    if (x === toX && y === toY) return;
    const twice = 2 * error;
    if (twice >= dy) {
      error += dy;
      x += sx;
    }
    if (twice <= dx) {
      error += dx;
      y += sy;
    }
  }
}
