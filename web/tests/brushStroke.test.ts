import { describe, expect, it } from 'vitest';
import { brushSegment } from '../src/label/canvas/brushStroke';

function painted(x0: number, y0: number, x1: number, y1: number, size: number, width = 40, height = 30): Set<string> {
  const found = new Set<string>();
  brushSegment(x0, y0, x1, y1, size, (y, from, to) => {
    for (let x = Math.max(from, 0); x < Math.min(to, width); x++) if (y >= 0 && y < height) found.add(`${x},${y}`);
  });
  return found;
}

/** The same by definition: each pixel whose centre is within the radius of the line. */
function expected(x0: number, y0: number, x1: number, y1: number, size: number, width = 40, height = 30): Set<string> {
  const found = new Set<string>();
  const square = (x1 - x0) ** 2 + (y1 - y0) ** 2;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [u, v] = [x + 0.5 - x0, y + 0.5 - y0];
      const t = square ? Math.min(Math.max((u * (x1 - x0) + v * (y1 - y0)) / square, 0), 1) : 0;
      if (Math.hypot(u - t * (x1 - x0), v - t * (y1 - y0)) <= size / 2) found.add(`${x},${y}`);
    }
  return found;
}

describe('a brush', () => {
  it.each([
    [10, 10, 10, 10, 7],
    [10.3, 9.8, 25.1, 20.6, 5.5],
    [25.1, 20.6, 10.3, 9.8, 5.5],
    [5.2, 12.4, 30.7, 12.4, 8],
    [20.1, 3.3, 20.1, 25.9, 3],
    [3.7, 4.1, 36.2, 6.6, 2],
    [-5, -5, 45, 35, 12],
  ])('covers the pixels whose centres it passes over: %f, %f to %f, %f, size %f', (x0, y0, x1, y1, size) => {
    expect([...painted(x0, y0, x1, y1, size)].sort()).toEqual([...expected(x0, y0, x1, y1, size)].sort());
  });

  it('of one pixel paints exactly the pixel it is in, and a connected line', () => {
    expect([...painted(4.99, 7.01, 4.99, 7.01, 1)]).toEqual(['4,7']);
    const line = painted(2.5, 2.5, 20.5, 9.5, 1);
    expect(line.size).toBe(19);
    expect(line.has('2,2') && line.has('20,9')).toBe(true);
  });

  it('of less than two pixels leaves no gap, wherever it is', () => {
    for (const at of [0.01, 0.3, 0.5, 0.99]) expect(painted(8 + at, 6 + at, 8 + at, 6 + at, 1.2).has('8,6')).toBe(true);
  });

  it('sweeps without gaps between events', () => {
    const one = painted(3, 3, 30, 20, 6);
    const halves = new Set([...painted(3, 3, 16.5, 11.5, 6), ...painted(16.5, 11.5, 30, 20, 6)]);
    expect([...halves].sort()).toEqual([...one].sort());
  });
});
