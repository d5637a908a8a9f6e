import { describe, expect, it } from 'vitest';
import { autoWindow, firstView, modelRange, shortNumber, viewQuery, windowOf } from '../src/lib/falseColour';
import type { ModelBands } from '../src/lib/types';

const bands: ModelBands = {
  names: ['blue', 'red', 'nir', 'swir'],
  dtype: 'float32',
  low: [0, 10, -5, 2],
  high: [100, 110, 200, 3],
  rgb: false,
  shown: [1, 2, 0],
};

describe('what is shown', () => {
  it('begins as the server proposes, with each band in its own range', () => {
    expect(firstView(bands)).toEqual({ shown: [1, 2, 0], window: null });
    expect(viewQuery(firstView(bands))).toEqual({ bands: '1,2,0' });
  });
  it('is told to the server with its window', () => {
    expect(viewQuery({ shown: [3, 3, 0], window: [0.5, 2] })).toEqual({ bands: '3,3,0', low: 0.5, high: 2 });
  });
  it('does not change the model', () => {
    firstView(bands).shown[0] = 3;
    expect(bands.shown).toEqual([1, 2, 0]);
  });
});

describe('the window', () => {
  it('holds nearly all values of the shown bands, and of no other', () => {
    const ranges: [number, number][] = [
      [0, 1],
      [5, 9],
      [-2, 3],
    ];
    expect(autoWindow(ranges, [1, 2, 1])).toEqual([-2, 9]);
    expect(autoWindow(ranges, [0, 0, 0])).toEqual([0, 1]);
  });
  it('is never empty', () => {
    expect(autoWindow([[7, 7]], [0, 0, 0])).toEqual([6.5, 7.5]);
    expect(autoWindow([], [0, 1, 2])).toEqual([0, 1]);
  });
  it('is the range of the shown bands in the model where none is chosen', () => {
    expect(modelRange(bands, [0, 1, 2])).toEqual([-5, 200]);
    expect(modelRange(bands, [3, 3, 3])).toEqual([2, 3]);
  });
  it('is read from two inputs', () => {
    expect(windowOf('0.25', '1e3')).toEqual([0.25, 1000]);
    expect(windowOf('-3', '-1')).toEqual([-3, -1]);
    for (const [low, high] of [
      ['', '1'],
      ['2', '2'],
      ['3', '2'],
      ['a', '2'],
      ['0', 'Infinity'],
    ] as const)
      expect(windowOf(low, high)).toBeNull();
  });
  it('is written short', () => {
    expect(shortNumber(0.000123456)).toBe('0.00012346');
    expect(shortNumber(65535)).toBe('65535');
    expect(shortNumber(-1.5)).toBe('-1.5');
  });
});
