import { describe, expect, it } from 'vitest';
import { precise } from '../src/lib/format';
import { countsOf, holds, objectAt, rowsOf, sorted, type Corner, type ObjectCollection } from '../src/lib/objectRows';

const square = (left: number, top: number, side: number): Corner[] => [
  [left, top],
  [left + side, top],
  [left + side, top + side],
  [left, top + side],
  [left, top],
];

const facts = (label: number, name: string, area: number, roundness: number | null) => ({
  label,
  classification: { name },
  area,
  perimeter: 10,
  roundness,
  confidence_mean: 0.5,
});

const collection: ObjectCollection = {
  features: [
    {
      geometry: { type: 'Polygon', coordinates: [square(0, 0, 6), square(2, 2, 2)] }, // with a hole
      properties: facts(1, 'car', 32, 0.5),
    },
    {
      geometry: { type: 'MultiPolygon', coordinates: [[square(10, 0, 1)], [square(11, 1, 1)]] }, // meets at a corner
      properties: facts(2, 'tree', 2, null),
    },
    { geometry: { type: 'Polygon', coordinates: [square(3, 3, 1)] }, properties: facts(3, 'car', 1, 0.9) },
  ],
};
const rows = rowsOf(collection);
const labels = (found: readonly { label: number }[]) => found.map((row) => row.label);

describe('objects', () => {
  it('have a box around all their parts, and a path with their holes', () => {
    expect(rows.map((row) => row.box)).toEqual([
      [0, 0, 6, 6],
      [10, 0, 12, 2],
      [3, 3, 4, 4],
    ]);
    expect(rows[2]!.path).toBe('M3 3L4 3L4 4L3 4L3 3Z');
    expect(rows[0]!.path.split('M')).toHaveLength(3);
  });
  it('hold their pixels: no hole, no neighbour, nothing beyond the edge', () => {
    const inside = (at: number, width: number, height: number) =>
      Array.from({ length: width * height }, (_, i) => holds(rows[at]!, i % width, Math.floor(i / width))).filter(
        Boolean,
      );
    expect(inside(0, 20, 9)).toHaveLength(32);
    expect(inside(1, 20, 9)).toHaveLength(2);
    expect([holds(rows[1]!, 10, 0), holds(rows[1]!, 11, 0), holds(rows[1]!, 11, 1)]).toEqual([true, false, true]);
  });
  it('are found at a pixel, also inside the hole of another', () => {
    expect(objectAt(rows, 5, 5)?.label).toBe(1);
    expect(objectAt(rows, 3, 3)?.label).toBe(3);
    expect(objectAt(rows, 2, 2)).toBeNull();
  });
  it('are sorted by any column; what has no value comes last', () => {
    expect(labels(sorted(rows, { column: 'area', down: true }))).toEqual([1, 2, 3]);
    expect(labels(sorted(rows, { column: 'area', down: false }))).toEqual([3, 2, 1]);
    expect(labels(sorted(rows, { column: 'roundness', down: true }))).toEqual([3, 1, 2]);
    expect(labels(sorted(rows, { column: 'roundness', down: false }))).toEqual([1, 3, 2]);
    expect(labels(sorted(rows, { column: 'class', down: true }))).toEqual([2, 1, 3]);
    expect(labels(rows)).toEqual([1, 2, 3]); // the list itself stays
  });
  it('have sizes in the unit of the file, where it states one', () => {
    const feature = collection.features[0]!;
    const measured = { ...feature.properties, area_um2: 8, perimeter_um: 5, centroid_um: 1 };
    const sides = { ...feature.properties, area_mm2: 0.5 }; // of pixels that are not square
    const found = rowsOf({ features: [measured, sides].map((properties) => ({ ...feature, properties })) });
    expect(found[0]!.lengths).toEqual({ unit: 'µm', area: 8, perimeter: 5 });
    expect(found[1]!.lengths).toEqual({ unit: 'mm', area: 0.5, perimeter: null });
    expect(rows[0]!.lengths).toBeNull();
    expect([0.0123456, 12.3456, 12345.6].map(precise)).toEqual(['0.01235', '12.35', '12\u202f346']);
    expect(precise(null)).toBe('–');
  });
  it('are counted by class, the commonest first', () => {
    expect(countsOf(rows)).toEqual([
      ['car', 2],
      ['tree', 1],
    ]);
  });
});
