import { describe, expect, it } from 'vitest';
import { apart, fromHex, hex, nextColour, PALETTE, tooClose, TOO_CLOSE } from '../src/label/classColours';
import { moved } from '../src/label/classOrder';
import { CANVAS_KEYS, TOOLS } from '../src/label/canvas/tools';
import { curveSeries } from '../src/label/curveSeries';
import { countKeys, sharesOf } from '../src/label/maskCounts';
import { inView, ROW_PX } from '../src/label/rowsInView';
import { actionOf, grouped, keyOf, SHORTCUTS } from '../src/label/shortcuts';
import { duration } from '../src/label/stateWords';

const press = (key: string, more: Partial<KeyboardEvent> = {}) => ({
  key,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  shiftKey: false,
  ...more,
});

describe('keys', () => {
  it('are written as the table has them', () => {
    expect(keyOf(press('b'))).toBe('B');
    expect(keyOf(press('B', { shiftKey: true }))).toBe('Shift+B');
    expect(keyOf(press('?', { shiftKey: true }))).toBe('?');
    expect(keyOf(press('z', { metaKey: true, shiftKey: true }))).toBe('Ctrl+Shift+Z');
    expect(keyOf(press('Enter', { ctrlKey: true }))).toBe('Ctrl+Enter');
    expect(keyOf(press('é'))).toBe('É');
  });

  it('have one meaning each, also beside those of the image', () => {
    const keys = SHORTCUTS.flatMap((row) => row.keys);
    const onImage = CANVAS_KEYS.map((row) => row.keys.toUpperCase());
    expect(keys.length).toBe(new Set(keys).size);
    expect(keys.filter((key) => onImage.includes(key.toUpperCase()))).toEqual([]);
  });

  it('do what the sheet says', () => {
    for (const { action, keys } of SHORTCUTS)
      for (const key of keys) {
        const parts = key.split('+');
        const event = press(parts.at(-1)!, { ctrlKey: parts.includes('Ctrl'), shiftKey: parts.includes('Shift') });
        expect(actionOf(event)).toBe(action);
      }
    expect(actionOf(press('q'))).toBeNull();
    const shown = grouped().flatMap(({ rows }) => rows.flatMap((row) => row.keys));
    expect(shown).toContain('1 – 9');
    for (const tool of TOOLS) expect(shown).toContain(tool.key.toUpperCase());
  });
});

describe('colours of classes', () => {
  it('of the palette stay apart for everyone', () => {
    PALETTE.forEach((one, i) =>
      PALETTE.slice(0, i).forEach((other) => expect(apart(one, other).distance).toBeGreaterThan(TOO_CLOSE)),
    );
  });

  it('that some people confuse are found', () => {
    const rows = [{ colour: [0, 0, 255] }, { colour: [0, 160, 0] }];
    const found = tooClose([255, 0, 0], rows);
    expect(found?.row).toBe(rows[1]);
    expect(found?.to).toBe('green blindness');
    expect(tooClose([255, 255, 255], rows)).toBeNull();
  });

  it('are new for every new class', () => {
    const used: number[][] = [];
    for (let i = 0; i < PALETTE.length; i++) used.push(nextColour(used));
    expect(new Set(used.map(hex)).size).toBe(PALETTE.length);
    expect(fromHex(hex([1, 128, 255]))).toEqual([1, 128, 255]);
  });
});

it('classes are moved to a place', () => {
  expect(moved(['a', 'b', 'c'], 0, 2)).toEqual(['b', 'c', 'a']);
  expect(moved(['a', 'b', 'c'], 2, 0)).toEqual(['c', 'a', 'b']);
  expect(moved(['a', 'b', 'c'], 1, 1)).toEqual(['a', 'b', 'c']);
});

it('only the rows in view exist', () => {
  expect(inView(0, 600, 0)).toEqual([0, 0]);
  const [first, end] = inView(500 * ROW_PX, 600, 100_000);
  expect(first).toBeLessThan(500);
  expect(end).toBeGreaterThan(510);
  expect(end - first).toBeLessThan(30);
  expect(inView(1e9, 600, 40)).toEqual([40, 40]); // the list has just become shorter
});

it('a mask is counted by key', () => {
  const keys = Uint8Array.of(3, 3, 255, 0);
  expect(countKeys(keys)[3]).toBe(2);
  expect(sharesOf(keys)).toEqual([
    { key: 3, share: 0.5 },
    { key: 0, share: 0.25 },
  ]);
});

it('time is written for people', () => {
  expect([12, 60, 2280, 7500].map(duration)).toEqual(['12 s', '1 min', '38 min', '2 h 05 min']);
});

describe('the curve', () => {
  const points = [
    { run: 'two', images: 8, minutes: 20, miou: 0.5 },
    { run: 'one', images: 4, minutes: 10, miou: 0.4 },
  ];

  it('ends in its forecast', () => {
    const { x, series, forecastMinutes } = curveSeries({ points, forecast: { images: 18, miou: 0.6 } }, 'images');
    expect(x).toEqual([4, 8, 18]);
    expect(series.map((one) => one.values)).toEqual([
      [0.4, 0.5, null],
      [null, 0.5, 0.6],
    ]);
    expect(forecastMinutes).toBe(45);
  });

  it('goes without one', () => {
    expect(curveSeries({ points, forecast: null }, 'minutes')).toEqual({
      x: [10, 20],
      series: [{ label: 'mIoU', values: [0.4, 0.5] }],
      forecastMinutes: null,
    });
  });
});
