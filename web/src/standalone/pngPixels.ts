// PNG files → the very values that are stored in them, as Pixelwise reads them. A browser's own decoder multiplies colours
// by alpha, applies colour profiles and shortens 16 bits; this one does not.

import { exifTurn, upright } from './exifTurn';

export interface RgbImage {
  rgb: Uint8Array<ArrayBuffer>; // [H, W, 3]
  width: number;
  height: number;
}

interface PngHeader {
  width: number;
  height: number;
  depth: number;
  colour: number; // 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

export const isPng = (file: Uint8Array) => SIGNATURE.every((byte, i) => file[i] === byte);

/** The pixels of a PNG, upright; null where the browser must decode it: interlaced, animated or too large. */
export async function pngPixels(file: Uint8Array<ArrayBuffer>, maxPixels: number): Promise<RgbImage | null> {
  const found = await pngValues(file, maxPixels);
  if (!found) return null;
  const { header, samples, palette, turn } = found;
  return upright({ rgb: rgbOf(samples, header, palette), width: header.width, height: header.height }, turn);
}

/** The ids of a mask: a palette PNG's indices, or a grey one's values. */
export async function pngIds(file: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const found = await pngValues(file, Infinity);
  if (!found || found.header.depth !== 8 || CHANNELS[found.header.colour] !== 1)
    throw new Error('not a mask of 8 bits');
  return Uint8Array.from(found.samples);
}

async function pngValues(file: Uint8Array<ArrayBuffer>, maxPixels: number) {
  let header: PngHeader | null = null;
  let palette = new Uint8Array(0);
  let turn = 1;
  const data: Uint8Array<ArrayBuffer>[] = [];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 8; at + 12 <= file.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...file.subarray(at + 4, at + 8));
    const body = file.subarray(at + 8, at + 8 + length);
    if (kind === 'IHDR') {
      const inner = { width: view.getUint32(at + 8), height: view.getUint32(at + 12) };
      header = { ...inner, depth: body[8]!, colour: body[9]! };
      if (body[12] !== 0) return null; // interlaced
      if (header.width * header.height > maxPixels) return null; // the caller reports it
    }
    if (kind === 'PLTE') palette = body;
    if (kind === 'eXIf') turn = exifTurn(body);
    if (kind === 'acTL') return null;
    if (kind === 'IDAT') data.push(body);
    if (kind === 'IEND') break;
    at += 12 + length;
  }
  if (!header || CHANNELS[header.colour] === undefined) throw new Error('damaged');
  return { header, palette, turn, samples: samplesOf(await inflated(data), header) };
}

async function inflated(parts: Uint8Array<ArrayBuffer>[]): Promise<Uint8Array> {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The stored samples [H, W, channels], one number each: the rows' filters undone, bits unpacked. */
function samplesOf(packed: Uint8Array, { width, height, depth, colour }: PngHeader): Uint8Array | Uint16Array {
  const perRow = width * CHANNELS[colour]!;
  const rowBytes = Math.ceil((perRow * depth) / 8);
  if (packed.length < height * (rowBytes + 1)) throw new Error('truncated');
  const reach = Math.max(1, (CHANNELS[colour]! * depth) >> 3); // bytes between a sample and that of the pixel before
  const samples = depth === 16 ? new Uint16Array(perRow * height) : new Uint8Array(perRow * height);
  let above = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const start = y * (rowBytes + 1) + 1;
    const row = packed.subarray(start, start + rowBytes);
    unfilter(row, above, packed[start - 1]!, reach);
    above = row as Uint8Array<ArrayBuffer>;
    for (let x = 0, at = y * perRow; x < perRow; x++, at++) {
      if (depth === 8) samples[at] = row[x]!;
      else if (depth === 16) samples[at] = (row[2 * x]! << 8) | row[2 * x + 1]!;
      else samples[at] = (row[(x * depth) >> 3]! >> (8 - depth - ((x * depth) & 7))) & ((1 << depth) - 1);
    }
  }
  return samples;
}

/** Undo a row's filter, in place. */
function unfilter(row: Uint8Array, above: Uint8Array, filter: number, reach: number): void {
  if (filter === 0) return;
  if (filter > 4) throw new Error('damaged');
  for (let i = 0; i < row.length; i++) {
    const left = i >= reach ? row[i - reach]! : 0;
    const up = above[i]!;
    let guess = filter === 1 ? left : filter === 2 ? up : (left + up) >> 1;
    if (filter === 4) {
      const corner = i >= reach ? above[i - reach]! : 0;
      const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
      guess = a <= b && a <= c ? left : b <= c ? up : corner;
    }
    row[i] = row[i]! + guess;
  }
}

/** Alpha is dropped and the stored colour kept; grey is spread over 0–255; 16 bits are value / 257, rounded. */
function rgbOf(samples: Uint8Array | Uint16Array, header: PngHeader, palette: Uint8Array): Uint8Array<ArrayBuffer> {
  const { width, height, depth, colour } = header;
  const many = CHANNELS[colour]!;
  const rgb = new Uint8Array(width * height * 3);
  const to8 = (value: number) => (depth === 16 ? Math.round(value / 257) : (value * 255) / ((1 << depth) - 1));
  for (let at = 0, from = 0; at < rgb.length; at += 3, from += many) {
    const first = samples[from]!;
    if (colour === 3) for (let i = 0; i < 3; i++) rgb[at + i] = palette[3 * first + i] ?? 0;
    else if (many >= 3) for (let i = 0; i < 3; i++) rgb[at + i] = to8(samples[from + i]!);
    else rgb[at] = rgb[at + 1] = rgb[at + 2] = to8(first);
  }
  return rgb;
}
