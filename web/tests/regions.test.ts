import { describe, expect, it } from 'vitest';
import { numbered, regions, type Region } from '../src/lib/regions';
import { randomNumbers } from './samples';

/** Regions of a map written as rows of digits, '0110/0000'. */
function find(map: string, wanted: number[], least?: number): Region[] {
  const rows = map.split('/');
  return regions(Uint8Array.from(rows.join(''), Number), rows[0]!.length, rows.length, new Set(wanted), least);
}

const sizes = (found: Region[]) => found.map((region) => region.pixels);

describe('regions', () => {
  it('are none where the class is not', () => {
    expect(find('0000/0000', [1])).toEqual([]);
    expect(find('0110', [])).toEqual([]);
    expect(regions(new Uint8Array(0), 0, 0, new Set([0]))).toEqual([]);
  });
  it('have a box whose right and bottom lie outside', () => {
    expect(find('0000/0110/0010', [1])).toEqual([{ id: 1, pixels: 3, left: 1, top: 1, right: 3, bottom: 3, seed: 5 }]);
  });
  it('can be a single pixel, or the whole image', () => {
    expect(find('1', [1])).toEqual([{ id: 1, pixels: 1, left: 0, top: 0, right: 1, bottom: 1, seed: 0 }]);
    expect(sizes(find('111/111', [1]))).toEqual([6]);
  });
  it('do not meet at corners', () => {
    expect(sizes(find('10/01', [1]))).toEqual([1, 1]);
  });
  it('do not go on from the end of one row to the start of the next', () => {
    expect(sizes(find('001/100', [1]))).toEqual([1, 1]);
  });
  it('are one where their arms meet only further down', () => {
    expect(sizes(find('101/101/111', [1]))).toEqual([7]);
    expect(sizes(find('10101/10101/11111', [1]))).toEqual([11]);
    expect(sizes(find('00001/10101/11101', [1]))).toEqual([5, 3]);
  });
  it('of different classes stay apart where they touch', () => {
    const found = find('1122/1122', [1, 2]);
    expect(found.map(({ id, pixels }) => [id, pixels])).toEqual([
      [1, 4],
      [2, 4],
    ]);
  });
  it('come largest first, without those below the least size', () => {
    const map = '1011/0011/1000';
    expect(sizes(find(map, [1]))).toEqual([4, 1, 1]);
    expect(sizes(find(map, [1], 2))).toEqual([4]);
    expect(sizes(find(map, [1], 5))).toEqual([]);
  });
  it('are those that a flood fill finds, on maps of every kind', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = randomNumbers(seed);
      const [width, height] = [1 + Math.floor(random() * 14), 1 + Math.floor(random() * 14)];
      const labels = Uint8Array.from({ length: width * height }, () => Math.floor(random() * 3));
      const found = regions(labels, width, height, new Set([0, 2]));
      const byPlace = (p: Region, q: Region) => p.seed - q.seed;
      const expected = flooded(labels, width, height).filter((region) => region.id !== 1);
      expect(found.toSorted(byPlace), `seed ${seed}`).toEqual(expected.toSorted(byPlace));
    }
  });
});

/** The same by the plainest means: from each pixel not yet seen, step to the neighbours of its class. */
function flooded(labels: Uint8Array, width: number, height: number): Region[] {
  const seen = new Set<number>();
  const found: Region[] = [];
  for (let seed = 0; seed < labels.length; seed++) {
    if (seen.has(seed)) continue;
    const open = [seed];
    seen.add(seed);
    const members: [number, number][] = [];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const [x, y] = [at % width, Math.floor(at / width)];
      members.push([x, y]);
      for (const [nx, ny] of [
        [x - 1, y],
        [x + 1, y],
        [x, y - 1],
        [x, y + 1],
      ] as const) {
        const next = ny * width + nx;
        const inside = nx >= 0 && ny >= 0 && nx < width && ny < height;
        if (inside && labels[next] === labels[seed] && !seen.has(next)) {
          seen.add(next);
          open.push(next);
        }
      }
    }
    const [xs, ys] = [members.map(([x]) => x), members.map(([, y]) => y)];
    found.push({
      id: labels[seed]!,
      pixels: members.length,
      left: Math.min(...xs),
      top: Math.min(...ys),
      right: Math.max(...xs) + 1,
      bottom: Math.max(...ys) + 1,
      seed,
    });
  }
  return found;
}

describe('numbers of regions', () => {
  it('are the same for pixels that touch by a side, and no others', () => {
    const labels = Uint8Array.from('1101100011', Number);
    const found = regions(labels, 5, 2, new Set([1]));
    const numbers = [...numbered(labels, 5, 2, found)];
    expect(found.length).toBe(2);
    expect(numbers).toEqual([2, 2, 0, 1, 1, 0, 0, 0, 1, 1]);
  });
  it('count each region’s pixels, also of random maps', () => {
    const values = randomNumbers(7);
    const labels = Uint8Array.from({ length: 24 * 17 }, () => Math.floor(values() * 3));
    const found = regions(labels, 24, 17, new Set([0, 1, 2]));
    const numbers = numbered(labels, 24, 17, found);
    found.forEach((region, i) => expect(numbers.filter((one) => one === i + 1).length).toBe(region.pixels));
    expect(numbers).not.toContain(0);
  });
});
