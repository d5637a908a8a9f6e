// Connected areas: of pixels alike in colour, or of one label.

/** 1 for each pixel that is connected with (x, y), by its four sides, through pixels that are `alike`; [height, width]. */
export function connected(
  width: number,
  height: number,
  x: number,
  y: number,
  alike: (at: number) => boolean,
): Uint8Array {
  const inside = new Uint8Array(width * height);
  if (!alike(y * width + x)) return inside;
  const stack = [y * width + x];
  while (stack.length) {
    const start = stack.pop()!;
    if (inside[start]) continue;
    const row = start - (start % width);
    let left = start;
    let right = start;
    while (left > row && !inside[left - 1] && alike(left - 1)) left--;
    while (right < row + width - 1 && !inside[right + 1] && alike(right + 1)) right++;
    inside.fill(1, left, right + 1);
    for (const by of [-width, width]) {
      if (row + by < 0 || row + by >= inside.length) continue;
      for (let at = left + by, open = false; at <= right + by; at++) {
        const fits = !inside[at] && alike(at);
        if (fits && !open) stack.push(at);
        open = fits;
      }
    }
  }
  return inside;
}

/** The area around (x, y) whose red, green and blue differ by at most `tolerance` from the pixel there. */
export function floodByColour(
  rgba: Uint8ClampedArray,
  width: number,
  height: number,
  x: number,
  y: number,
  tolerance: number,
): Uint8Array {
  const seed = 4 * (y * width + x);
  const [r, g, b] = [rgba[seed]!, rgba[seed + 1]!, rgba[seed + 2]!];
  return connected(width, height, x, y, (at) => {
    const i = 4 * at;
    return (
      Math.abs(rgba[i]! - r) <= tolerance &&
      Math.abs(rgba[i + 1]! - g) <= tolerance &&
      Math.abs(rgba[i + 2]! - b) <= tolerance
    );
  });
}

/** Does the area reach a side of its window? Then it may go on beyond. */
export function reachesEdge(inside: Uint8Array, width: number, height: number): boolean {
  for (let x = 0; x < width; x++) if (inside[x] || inside[(height - 1) * width + x]) return true;
  for (let y = 0; y < height; y++) if (inside[y * width] || inside[y * width + width - 1]) return true;
  return false;
}
