import { describe, expect, it } from 'vitest';
import { acceptance } from '../src/label/canvas/acceptProposal';
import { connected, floodByColour, reachesEdge } from '../src/label/canvas/floodFill';
import {
  applyPatch,
  ASSISTANT,
  intersection,
  MaskEdit,
  PERSON,
  union,
  type LabelMask,
} from '../src/label/canvas/maskEdit';
import {
  cornerAt,
  ring,
  sideAt,
  simplified,
  withCorner,
  withCornerMoved,
  withoutCorner,
  withPath,
  type Outline,
} from '../src/label/canvas/outlineCorners';
import { polygonSpans, rectangleSpans, type Point } from '../src/label/canvas/polygonFill';
import { packEdit } from '../src/label/labelApi';
import type { Proposal } from '../src/label/labelTypes';

const blank = (width: number, height: number): LabelMask => ({
  width,
  height,
  keys: new Uint8Array(width * height).fill(255),
  drawn: new Uint8Array(width * height),
});
const rows = ({ keys, width }: LabelMask) =>
  Array.from({ length: keys.length / width }, (_, y) =>
    [...keys.slice(y * width, (y + 1) * width)].map((key) => (key === 255 ? '.' : String(key))).join(''),
  );
const picture = (width: number, height: number, draw: (edit: MaskEdit) => void) => {
  const mask = blank(width, height);
  draw(new MaskEdit(mask, []));
  return rows(mask);
};

describe('an edit', () => {
  it('becomes a patch of what it changed, and nothing else', () => {
    const mask = blank(6, 4);
    const edit = new MaskEdit(mask, []);
    edit.span(1, 2, 4, 3);
    edit.span(2, -5, 3, 3);
    edit.span(9, 0, 6, 3);
    expect(rows(mask)).toEqual(['......', '..33..', '333...', '......']);
    expect(edit.patch()).toEqual({
      x: 0,
      y: 1,
      w: 4,
      h: 2,
      values: Uint8Array.from([0, 0, 3, 3, 3, 3, 3, 0]),
      changed: Uint8Array.from([0, 0, 1, 1, 1, 1, 1, 0]),
    });
    expect(edit.pixels).toBe(5);
  });

  it('never changes a locked class, nor adds to it', () => {
    const mask = blank(5, 1);
    mask.keys.set([1, 255, 2, 255, 1]);
    const edit = new MaskEdit(mask, [1]);
    edit.span(0, 0, 5, 2);
    edit.span(0, 0, 5, 1);
    expect(rows(mask)).toEqual(['12221']);
    expect(edit.spared).toBe(2);
    expect(edit.pixels).toBe(3);
  });

  it('is cancelled without a trace', () => {
    const mask = blank(90, 90);
    mask.keys[100] = 4;
    const before = mask.keys.slice();
    const edit = new MaskEdit(mask, []);
    for (let y = 0; y < 90; y++) edit.span(y, 0, 90, y % 3);
    expect(edit.cancel()).toEqual({ x: 0, y: 0, w: 90, h: 90 });
    expect(mask.keys).toEqual(before);
    expect(mask.drawn.some(Boolean)).toBe(false);
  });

  it('without an effect is none', () => {
    const mask = blank(4, 4);
    const edit = new MaskEdit(mask, []);
    edit.span(0, 0, 4, 255);
    expect(edit.patch()).toBeNull();
  });

  it('of the same class makes accepted labels the person’s own', () => {
    const mask = blank(3, 1);
    new MaskEdit(mask, [], ASSISTANT).span(0, 0, 3, 1);
    const edit = new MaskEdit(mask, []);
    edit.span(0, 1, 2, 1);
    expect([...mask.drawn]).toEqual([ASSISTANT, PERSON, ASSISTANT]);
    expect(edit.patch()).toMatchObject({ x: 1, w: 1 });
  });

  it('stays on top of a change by the server, and gives way to it when cancelled', () => {
    const mask = blank(3, 1);
    const edit = new MaskEdit(mask, []);
    edit.span(0, 0, 2, 1);
    const patch = { x: 0, y: 0, w: 3, h: 1, values: Uint8Array.of(7, 7, 7), changed: Uint8Array.of(1, 1, 1) };
    edit.rebase(patch);
    applyPatch(mask, patch);
    expect(rows(mask)).toEqual(['117']);
    edit.cancel();
    expect(rows(mask)).toEqual(['777']);
  });

  it('paints a region with one class or one for each pixel', () => {
    const box = { x: 1, y: 0, w: 3, h: 2 };
    const inside = Uint8Array.from([1, 0, 1, 1, 1, 1]);
    expect(picture(5, 2, (edit) => edit.region(box, inside, 5))).toEqual(['.5.5.', '.555.']);
    const keys = Uint8Array.from([1, 2, 3, 4, 4, 255]);
    expect(picture(5, 2, (edit) => edit.region(box, inside, keys))).toEqual(['.1.3.', '.44..']);
  });

  it('travels as a header and two planes', () => {
    const edit = { x: 1, y: 2, w: 2, h: 1, values: Uint8Array.of(9, 0), changed: Uint8Array.of(1, 0), seconds: 1.5 };
    const body = packEdit({ ...edit, edit_id: 'e', tool: 'brush', key: 9, source: 'person' }, 'me');
    const length = new DataView(body.buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(body.subarray(4, 4 + length))) as Record<string, unknown>;
    expect(header).toEqual({
      ...{ client: 'me', edit_id: 'e', tool: 'brush', key: 9, seconds: 1.5, source: 'person' },
      ...{ x: 1, y: 2, w: 2, h: 1 },
    });
    expect([...body.subarray(4 + length)]).toEqual([9, 0, 1, 0]);
  });
});

it('boxes are joined and cut', () => {
  const [a, b] = [
    { x: 1, y: 1, w: 4, h: 2 },
    { x: 3, y: 0, w: 9, h: 2 },
  ];
  expect(union(a, b)).toEqual({ x: 1, y: 0, w: 11, h: 3 });
  expect(union(null, b)).toEqual(b);
  expect(intersection(a, b)).toEqual({ x: 3, y: 1, w: 2, h: 1 });
  expect(intersection(a, { x: 5, y: 1, w: 1, h: 1 })).toBeNull();
});

describe('a polygon', () => {
  const filled = (points: Point[]) =>
    picture(8, 6, (edit) => polygonSpans(points, 6, (y, from, to) => edit.span(y, from, to, 1)));

  it('fills the pixels whose centres are inside', () => {
    expect(
      filled([
        [1, 1],
        [5, 1],
        [5, 4],
        [1, 4],
      ]),
    ).toEqual(['........', '.1111...', '.1111...', '.1111...', '........', '........']);
    expect(
      filled([
        [0, 0],
        [6, 0],
        [0, 6],
      ]),
    ).toEqual(['11111...', '1111....', '111.....', '11......', '1.......', '........']);
  });

  it('that meets another along a side shares no pixel with it', () => {
    const left = filled([
      [0.3, 0.3],
      [4.4, 2.7],
      [2.2, 5.6],
    ]);
    const right = filled([
      [4.4, 2.7],
      [0.3, 0.3],
      [7.5, 0.2],
    ]);
    left.forEach((row, y) => [...row].forEach((one, x) => expect(one === '1' && right[y]![x] === '1').toBe(false)));
  });

  it('that goes over itself, or beyond the image, is filled throughout', () => {
    const twice = filled([
      [1, 1],
      [6, 1],
      [6, 5],
      [1, 5],
      [1, 1],
      [6, 1],
      [6, 5],
      [1, 5],
    ]);
    expect(twice[2]).toBe('.11111..');
    expect(
      filled([
        [-5, -5],
        [50, -5],
        [50, 50],
        [-5, 50],
      ]),
    ).toEqual(Array(6).fill('11111111'));
  });

  it('a rectangle has the pixels of both corners', () => {
    const draw = (a: Point, b: Point) =>
      picture(5, 3, (edit) => rectangleSpans(a, b, (y, from, to) => edit.span(y, from, to, 1)));
    expect(draw([3.9, 1.2], [1.1, 0.9])).toEqual(['.111.', '.111.', '.....']);
    expect(draw([2.5, 2.5], [2.5, 2.5])).toEqual(['.....', '.....', '..1..']);
  });
});

describe('corners of an outline', () => {
  const square: Outline = {
    corners: [
      [0, 0],
      [10, 0],
      [10, 10],
      [0, 10],
    ],
    paths: [[[5, -1]], [], [], []],
  };

  it('are found, and so are sides, the closing one too', () => {
    expect(cornerAt(square, 9, 9, 2)).toBe(2);
    expect(cornerAt(square, 5, 5, 2)).toBe(-1);
    expect(sideAt(square, 5, -1.2, 0.5)).toBe(0);
    expect(sideAt(square, 0.4, 5, 0.5)).toBe(3);
    expect(sideAt(square, 5, 5, 2)).toBe(-1);
  });

  it('are added, moved and deleted; sides next to them become straight', () => {
    expect(ring(square)).toHaveLength(5);
    expect(withCorner(square, 0, [6, 0])).toEqual({
      corners: [[0, 0], [6, 0], ...square.corners.slice(1)],
      paths: [[], [], [], [], []],
    });
    expect(withCornerMoved(square, 1, [12, 1]).paths).toEqual([[], [], [], []]);
    expect(withCornerMoved(square, 2, [12, 1]).paths[0]).toHaveLength(1);
    expect(withoutCorner(square, 0)).toEqual({ corners: square.corners.slice(1), paths: [[], [], []] });
    expect(withPath(square, 3, [[1, 5]]).paths[3]).toEqual([[1, 5]]);
    expect(withoutCorner({ corners: [[1, 1]], paths: [[]] }, 0)).toEqual({ corners: [], paths: [] });
  });

  it('of a lasso are as few as its shape allows', () => {
    const line: Point[] = Array.from({ length: 50 }, (_, i) => [i, i < 25 ? 0.1 * (i % 2) : i - 24]);
    expect(simplified(line, 0.5)).toHaveLength(3);
    expect(simplified(line, 1e-9)).toHaveLength(26);
  });
});

describe('a flood', () => {
  it('fills what is connected by sides', () => {
    const wall = ['..#..', '.#...', '#..#.', '..#..'].join('');
    const inside = connected(5, 4, 0, 0, (at) => wall[at] === '.');
    expect([...inside].reduce((sum, one) => sum + one, 0)).toBe(3);
    expect([...connected(5, 4, 2, 0, (at) => wall[at] === '.')].some(Boolean)).toBe(false);
  });

  it('is the same as by asking neighbour after neighbour', () => {
    const [width, height] = [37, 23];
    let seed = 1;
    const open = Array.from({ length: width * height }, () => (seed = (seed * 48271) % 2147483647) % 10 > 3);
    open[0] = true;
    const slow = new Uint8Array(width * height);
    const todo = [0];
    while (todo.length) {
      const at = todo.pop()!;
      if (slow[at] || !open[at]) continue;
      slow[at] = 1;
      if (at % width) todo.push(at - 1);
      if (at % width < width - 1) todo.push(at + 1);
      if (at >= width) todo.push(at - width);
      if (at + width < open.length) todo.push(at + width);
    }
    expect(slow.filter(Boolean).length).toBeGreaterThan(50);
    expect(connected(width, height, 0, 0, (at) => open[at]!)).toEqual(slow);
  });

  it('by colour takes each of red, green and blue within the tolerance', () => {
    const colours = [100, 110, 121, 100];
    const rgba = new Uint8ClampedArray(colours.flatMap((value) => [value, 100, 100, 255]));
    expect([...floodByColour(rgba, 4, 1, 0, 0, 10)]).toEqual([1, 1, 0, 0]);
    expect([...floodByColour(rgba, 4, 1, 0, 0, 21)]).toEqual([1, 1, 1, 1]);
    expect(reachesEdge(Uint8Array.from([0, 0, 0, 0, 1, 0, 0, 0, 0]), 3, 3)).toBe(false);
    expect(reachesEdge(Uint8Array.from([0, 0, 0, 0, 1, 1, 0, 0, 0]), 3, 3)).toBe(true);
  });
});

it('a proposal is accepted in all, by class or by region, but not where the person has drawn', () => {
  const labels = Uint8Array.from([1, 1, 255, 1, 2, 2, 255, 1]);
  const proposal = { window: { x: 10, y: 20, w: 4, h: 2 }, labels } as Proposal;
  const mask = blank(20, 30);
  expect([...acceptance(proposal, 'all', mask)!]).toEqual([1, 1, 0, 1, 1, 1, 0, 1]);
  expect([...acceptance(proposal, { key: 2 }, mask)!]).toEqual([0, 0, 0, 0, 1, 1, 0, 0]);
  expect([...acceptance(proposal, { x: 13, y: 21 }, mask)!]).toEqual([0, 0, 0, 1, 0, 0, 0, 1]);
  expect(acceptance(proposal, { x: 12, y: 20 }, mask)).toBeNull();
  expect(acceptance(proposal, { x: 9, y: 20 }, mask)).toBeNull();
  new MaskEdit(mask, []).span(21, 10, 12, 1);
  expect([...acceptance(proposal, 'all', mask)!]).toEqual([1, 1, 0, 1, 0, 0, 0, 1]);
});
