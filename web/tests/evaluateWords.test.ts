import { describe, expect, it } from 'vitest';
import { apart, binsOf, interval, points, thresholdWords } from '../src/rooms/evaluate/reportWords';
import { parseCell, parseIndex, parseOrder } from '../src/rooms/evaluate/roomKeys';
import { leftWords } from '../src/rooms/evaluate/timeLeft';
import type { Report } from '../src/rooms/evaluate/evaluationTypes';

const plain = (text: string) => text.replaceAll('\u202f', ' ');

describe('sentences of a report follow from its numbers', () => {
  it('says how far B is from A', () => {
    expect(apart(0.0123)).toBe('1.2 points above A’s');
    expect(apart(-0.0123)).toBe('1.2 points below A’s');
    expect(apart(0.0004)).toBe('equal to A’s, to a tenth of a point');
    expect(apart(null)).toBe('undefined');
  });

  it('gives differences a sign, and none to what rounds to zero', () => {
    expect([0.0123, -0.0123, -0.0001, null].map(points)).toEqual(['+1.2', '−1.2', '0.0', '–']);
  });

  it('says what a threshold keeps, and nothing of pixels that are not there', () => {
    const row = { confidence: 0.9, kept: 0.5, wrong: 0.02, errors_below: 0.75 };
    expect(plain(thresholdWords(row))).toBe(
      '50.0 % of the pixels have a confidence of 0.9 or more; 2.0 % of these are wrong. 75.0 % of all wrong pixels are below.',
    );
    expect(thresholdWords({ ...row, kept: 0, wrong: null })).toBe('No pixel has a confidence of 0.9 or more.');
    expect(thresholdWords({ ...row, errors_below: null })).not.toContain('below');
    expect(plain(thresholdWords({ ...row, confidence: 0, kept: 1 }))).toBe(
      'All pixels are kept; 2.0 % of them are wrong.',
    );
  });

  it('shows intervals, and a dash for none', () => {
    expect(plain(interval([0.5, 0.625]))).toBe('50.0 % to 62.5 %');
    expect(interval([null, null])).toBe('–');
  });

  it('counts the pixels of each bin', () => {
    const bins = [
      { share: 0.25, confidence: 0.4, accuracy: 0.5 },
      { share: 0.75, confidence: 0.8, accuracy: 0.9 },
    ];
    const found = binsOf({ calibration: { bins, pixels: 400 } } as unknown as Report);
    expect(found.map((bin) => [bin.from, bin.to, bin.pixels])).toEqual([
      [0, 0.5, 100],
      [0.5, 1, 300],
    ]);
  });

  it('says the time that is left in steps', () => {
    expect([3, 41, 400, 7200].map(leftWords)).toEqual(['a few seconds left', '50 s left', '7 min left', '2.0 h left']);
  });
});

describe('keys of the room in an address', () => {
  it('takes only cells and images that there can be', () => {
    expect(parseCell('1,5', 11)).toEqual({ t: 1, p: 5 });
    for (const text of [undefined, '', '1', '11,0', '0,11', '-1,2', 'a,b', '1,2,3'])
      expect(parseCell(text, 11)).toBeNull();
    expect(parseIndex('17')).toBe(17);
    for (const text of [undefined, '', '-1', '1.5', 'x', '99999999']) expect(parseIndex(text)).toBeNull();
  });

  it('falls back to the first order', () => {
    expect(parseOrder('best', ['worst', 'best'])).toBe('best');
    expect(parseOrder('cell', ['worst', 'best'])).toBe('worst');
  });
});
