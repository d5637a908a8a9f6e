// EXIF orientation where browsers leave it unread, in WebP and PNG; in JPEG they apply it themselves.

import type { RgbImage } from './pngPixels';

const ORIENTATION = 0x0112;

/** The EXIF orientation, 1 to 8; 1 where there is none, or the data are damaged: viewers show such an image as stored. */
export function exifTurn(exif: Uint8Array): number {
  const start = String.fromCharCode(...exif.subarray(0, 4)) === 'Exif' ? 6 : 0;
  const view = new DataView(exif.buffer, exif.byteOffset + start, Math.max(exif.byteLength - start, 0));
  if (view.byteLength < 8) return 1;
  const little = view.getUint16(0) === 0x4949;
  const first = view.getUint32(4, little);
  if (first + 2 > view.byteLength) return 1;
  const many = view.getUint16(first, little);
  for (let at = first + 2; at < first + 2 + 12 * many && at + 12 <= view.byteLength; at += 12) {
    if (view.getUint16(at, little) !== ORIENTATION) continue;
    const turn = view.getUint16(at + 8, little);
    return turn >= 1 && turn <= 8 ? turn : 1;
  }
  return 1;
}

/** The orientation in a WebP file's EXIF chunk. */
export function webpTurn(file: Uint8Array): number {
  const name = (at: number) => String.fromCharCode(...file.subarray(at, at + 4));
  if (name(0) !== 'RIFF' || name(8) !== 'WEBP') return 1;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 12; at + 8 <= file.length;) {
    const length = view.getUint32(at + 4, true);
    if (name(at) === 'EXIF') return exifTurn(file.subarray(at + 8, at + 8 + length));
    at += 8 + length + (length & 1);
  }
  return 1;
}

/** A stored image upright. */
export function upright({ rgb, width, height }: RgbImage, turn: number): RgbImage {
  if (turn === 1) return { rgb, width, height };
  const swapped = turn >= 5;
  const [newWidth, newHeight] = swapped ? [height, width] : [width, height];
  const [mirrored, flipped] = [[2, 3, 6, 7].includes(turn), [3, 4, 7, 8].includes(turn)];
  const made = new Uint8Array(rgb.length);
  for (let y = 0, at = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++, at += 3) {
      const [u, v] = [mirrored ? newWidth - 1 - x : x, flipped ? newHeight - 1 - y : y];
      const from = 3 * (swapped ? u * width + v : v * width + u);
      made[at] = rgb[from]!;
      made[at + 1] = rgb[from + 1]!;
      made[at + 2] = rgb[from + 2]!;
    }
  }
  return { rgb: made, width: newWidth, height: newHeight };
}
