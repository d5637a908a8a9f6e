// The objects of an image: a row of measurements and an outline each, from the server's GeoJSON.

export type Corner = [number, number]; // x, y of a pixel's corner, from the image's top left

/** Sizes in the unit of the image's file. */
export interface Lengths {
  unit: string; // µm, mm, m …
  area: number;
  perimeter: number | null; // of pixels that are not square: none
}

export interface ObjectRow {
  label: number; // from 1
  class: string;
  area: number; // pixels
  perimeter: number; // pixels
  lengths: Lengths | null; // null: the image's file states no size of a pixel
  roundness: number | null;
  confidence: number | null; // the mean probability of its pixels' labels
  rings: Corner[][]; // outlines and holes: a place is inside if a line from it crosses them an odd number of times
  box: [number, number, number, number]; // left, top, right, bottom; the last two lie outside
  path: string; // of an SVG
}

export type Column = 'label' | 'class' | 'area' | 'perimeter' | 'roundness' | 'confidence';

export interface Order {
  column: Column;
  down: boolean; // the highest first
}

interface Feature {
  geometry: { type: 'Polygon'; coordinates: Corner[][] } | { type: 'MultiPolygon'; coordinates: Corner[][][] };
  properties: {
    label: number;
    classification: { name: string };
    area: number;
    perimeter: number;
    roundness: number | null;
    confidence_mean: number | null;
    [measured: string]: unknown; // also area_um2, perimeter_um …
  };
}

export interface ObjectCollection {
  features: Feature[];
}

const AREA = /^area_([a-z]+)2$/;

function lengthsOf(properties: Feature['properties']): Lengths | null {
  for (const [name, area] of Object.entries(properties)) {
    const unit = AREA.exec(name)?.[1];
    if (!unit || typeof area !== 'number') continue;
    const perimeter = properties[`perimeter_${unit}`];
    return { unit: unit.replace('um', 'µm'), area, perimeter: typeof perimeter === 'number' ? perimeter : null };
  }
  return null;
}

function rowOf({ geometry, properties }: Feature): ObjectRow {
  const rings = geometry.type === 'Polygon' ? geometry.coordinates : geometry.coordinates.flat();
  const box: ObjectRow['box'] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of rings.flat()) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return {
    label: properties.label,
    class: properties.classification.name,
    area: properties.area,
    perimeter: properties.perimeter,
    lengths: lengthsOf(properties),
    roundness: properties.roundness,
    confidence: properties.confidence_mean,
    rings,
    box,
    path: rings.map((ring) => `M${ring.map((corner) => corner.join(' ')).join('L')}Z`).join(''),
  };
}

export const rowsOf = (collection: ObjectCollection): ObjectRow[] => collection.features.map(rowOf);

/** Sorted by a column, equal ones by their number; what has no value comes last either way. */
export function sorted(rows: readonly ObjectRow[], { column, down }: Order): ObjectRow[] {
  return [...rows].sort((p, q) => {
    const [a, b] = [p[column], q[column]];
    if (a === b) return p.label - q.label;
    if (a === null) return 1;
    if (b === null) return -1;
    const ascending = typeof a === 'string' ? a.localeCompare(String(b)) : a - Number(b);
    return (down ? -ascending : ascending) || p.label - q.label;
  });
}

/** Is the centre of pixel (x, y) in this object? */
export function holds({ box, rings }: ObjectRow, x: number, y: number): boolean {
  const [left, top, right, bottom] = box;
  if (x < left || x >= right || y < top || y >= bottom) return false;
  const [u, v] = [x + 0.5, y + 0.5];
  let inside = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [x0, y0] = ring[i]!;
      const [x1, y1] = ring[j]!;
      if (y0 > v !== y1 > v && u < x0 + ((v - y0) * (x1 - x0)) / (y1 - y0)) inside = !inside;
    }
  }
  return inside;
}

/** The object that a pixel belongs to. */
export const objectAt = (rows: readonly ObjectRow[], x: number, y: number): ObjectRow | null =>
  rows.find((row) => holds(row, x, y)) ?? null;

/** How many there are of each class, the commonest first. */
export function countsOf(rows: readonly ObjectRow[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(row.class, (counts.get(row.class) ?? 0) + 1);
  return [...counts].sort((p, q) => q[1] - p[1] || p[0].localeCompare(q[0]));
}
