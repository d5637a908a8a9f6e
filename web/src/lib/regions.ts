// Connected regions of one class: where things are, and the boxes around them. Shapes: H, W the image's own size.

export interface Region {
  id: number; // class
  pixels: number;
  left: number;
  top: number;
  right: number; // exclusive
  bottom: number;
  seed: number; // index of one of its pixels
}

/** Regions of the given classes (4-neighbours), the largest first. A scan line union–find, two passes. */
export function regions(
  labels: Uint8Array,
  width: number,
  height: number,
  wanted: ReadonlySet<number>,
  least = 1,
): Region[] {
  const parent: number[] = [0];
  const find = (a: number): number => {
    while (parent[a] !== a) a = parent[a] = parent[parent[a]!]!;
    return a;
  };
  const marks = new Int32Array(labels.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const id = labels[at]!;
      if (!wanted.has(id)) continue;
      const left = x > 0 && labels[at - 1] === id ? marks[at - 1]! : 0;
      const above = y > 0 && labels[at - width] === id ? marks[at - width]! : 0;
      if (left && above) {
        const a = find(left);
        const b = find(above);
        if (a !== b) parent[Math.max(a, b)] = Math.min(a, b);
        marks[at] = Math.min(a, b);
      } else if (left || above) marks[at] = left || above;
      else {
        parent.push(parent.length);
        marks[at] = parent.length - 1;
      }
    }
  }
  const found = new Map<number, Region>();
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!marks[at]) continue;
      const root = find(marks[at]!);
      const region = found.get(root);
      if (!region)
        found.set(root, { id: labels[at]!, pixels: 1, left: x, top: y, right: x + 1, bottom: y + 1, seed: at });
      else {
        region.pixels++;
        if (x < region.left) region.left = x;
        if (x >= region.right) region.right = x + 1;
        region.bottom = y + 1;
      }
    }
  }
  return [...found.values()].filter((region) => region.pixels >= least).sort((p, q) => q.pixels - p.pixels);
}

/** The pixel of a region that is nearest to the middle of its box. */
export function innerPixel(labels: Uint8Array, width: number, region: Region): { x: number; y: number } {
  const { id, left, right, top, bottom } = region;
  const [cx, cy] = [(left + right - 1) / 2, (top + bottom - 1) / 2];
  let best = { x: region.seed % width, y: Math.floor(region.seed / width) };
  let nearest = Infinity;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const away = Math.hypot(x - cx, y - cy);
      if (labels[y * width + x] === id && away < nearest) [nearest, best] = [away, { x, y }];
    }
  }
  return best;
}

/** For each pixel the number of the region that it belongs to, from 1 in the order given; 0 for none. */
export function numbered(labels: Uint8Array, width: number, height: number, found: readonly Region[]): Uint16Array {
  const numbers = new Uint16Array(labels.length);
  found.slice(0, 65535).forEach(({ id, seed }, place) => {
    const waiting = [seed];
    numbers[seed] = place + 1;
    while (waiting.length) {
      const at = waiting.pop()!;
      const x = at % width;
      const neighbours = [x > 0 ? at - 1 : -1, x < width - 1 ? at + 1 : -1, at - width, at + width];
      for (const next of neighbours) {
        if (next < 0 || next >= width * height || numbers[next] || labels[next] !== id) continue;
        numbers[next] = place + 1;
        waiting.push(next);
      }
    }
  });
  return numbers;
}
