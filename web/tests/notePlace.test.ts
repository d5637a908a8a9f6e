import { describe, expect, it } from 'vitest';
import { covered, filled, notePlace, type Point } from '../src/lib/notePlace';

const room = { left: 0, top: 0, right: 300, bottom: 100 };
const flat = (y: number): Point[] => Array.from({ length: 31 }, (_, i) => ({ x: 10 * i, y }));

describe('a note on a chart', () => {
  it('covers no line where there is room', () => {
    const lines = [flat(50), flat(80)];
    for (let x = 0; x <= 300; x += 10) {
      const box = notePlace({ x, y: 80 }, { width: 120, height: 25 }, room, lines);
      expect(covered(box, lines), `at ${x}`).toBe(0);
      expect(box.left >= 0 && box.right <= 300 && box.top >= 0 && box.bottom <= 100, `at ${x}`).toBe(true);
    }
  });
  it('is close to its point otherwise', () => {
    const box = notePlace({ x: 20, y: 50 }, { width: 50, height: 10 }, room, []);
    expect([box.left, Math.abs((box.top + box.bottom) / 2 - 50) < 5]).toEqual([30, true]);
  });
  it('does not cover the label of the best point either', () => {
    const lines = [flat(12), flat(15)]; // two lines near the top, as of a model that is good from the start
    for (let x = 0; x <= 300; x += 10) {
      const label = notePlace({ x: 250, y: 15 }, { width: 80, height: 23 }, room, lines);
      const box = notePlace({ x, y: 15 }, { width: 150, height: 38 }, room, [...lines, ...filled(label)]);
      const apart =
        box.right < label.left || box.left > label.right || box.bottom < label.top || box.top > label.bottom;
      expect(apart && covered(box, lines) === 0, `at ${x}`).toBe(true);
    }
  });
});
