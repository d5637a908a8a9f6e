import { describe, expect, it } from 'vitest';
import { asQuery, isUnclear, proposed } from '../src/lib/maskValues';
import type { MaskValue } from '../src/lib/types';

const rows = (...pairs: [number, number | null][]): MaskValue[] =>
  pairs.map(([value, id]) => ({ value, share: 1 / pairs.length, class: id }));

describe('the values of a true mask', () => {
  it('are asked about where one is no class; void is proposed for it', () => {
    const camvid = rows([3, 3], [11, null], [255, 255]);
    expect(isUnclear(camvid, 11)).toBe(true);
    expect(asQuery(proposed(camvid, 11))).toBe('3:3,11:255,255:255');
    expect(isUnclear(rows([3, 3], [255, 255]), 11)).toBe(false);
  });
  it('of 0 and 255 alone are background and foreground of two classes, not void', () => {
    const foreground = rows([0, 0], [255, 255]);
    expect(isUnclear(foreground, 2)).toBe(true);
    expect(asQuery(proposed(foreground, 2))).toBe('0:0,255:1');
    expect(isUnclear(rows([0, 0], [1, 1], [255, 255]), 2)).toBe(false);
    expect(isUnclear(foreground, 3)).toBe(false);
  });
});
