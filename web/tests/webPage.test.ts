// A model's web page: stored values of PNG files, masks that read back as they were, pictures turned upright.

import { expect, it } from 'vitest';
import { exifTurn, upright, webpTurn } from '../src/standalone/exifTurn';
import { labelPng } from '../src/standalone/labelPng';
import { isPng, pngIds, pngPixels } from '../src/standalone/pngPixels';

const COLOURS: [number, number, number][] = [
  [10, 20, 30],
  [40, 50, 60],
  [70, 80, 90],
];
const LABELS = Uint8Array.from([0, 1, 2, 2, 1, 0]);

const mask = async () => new Uint8Array(await (await labelPng(LABELS, 3, 2, COLOURS)).arrayBuffer());

it('a mask reads back as the ids and the colours that were written', async () => {
  const file = await mask();
  expect(isPng(file)).toBe(true);
  expect([...(await pngIds(file))]).toEqual([...LABELS]);
  const read = await pngPixels(file, 100);
  expect(read).toMatchObject({ width: 3, height: 2 });
  expect([...read!.rgb]).toEqual([...LABELS].flatMap((id) => COLOURS[id]!));
});

it('an image over the limit and an interlaced one are left to the browser', async () => {
  const file = await mask();
  expect(await pngPixels(file, 5)).toBeNull();
  file[28] = 1; // interlaced
  expect(await pngPixels(file, 100)).toBeNull();
});

it('a truncated file is an error, not a grey picture', async () => {
  const file = await mask();
  await expect(pngPixels(file.slice(0, 50), 100)).rejects.toThrow();
});

/** EXIF of one entry: the orientation. */
function exif(turn: number, little: boolean): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(22));
  view.setUint16(0, little ? 0x4949 : 0x4d4d);
  view.setUint16(2, 42, little);
  view.setUint32(4, 8, little);
  view.setUint16(8, 1, little);
  view.setUint16(10, 0x0112, little);
  view.setUint16(12, 3, little);
  view.setUint32(14, 1, little);
  view.setUint16(18, turn, little);
  return new Uint8Array(view.buffer);
}

it('orientation is read in both byte orders, and is 1 where EXIF is damaged', () => {
  expect(exifTurn(exif(6, true))).toBe(6);
  expect(exifTurn(exif(3, false))).toBe(3);
  expect(exifTurn(exif(9, true))).toBe(1);
  expect(exifTurn(exif(6, true).slice(0, 12))).toBe(1);
  expect(exifTurn(new Uint8Array(0))).toBe(1);
});

it('the EXIF chunk of a WebP file is found behind others', () => {
  const bytes = (text: string) => [...text].map((letter) => letter.charCodeAt(0));
  const file = [...bytes('RIFF....WEBPVP8 '), 3, 0, 0, 0, 1, 2, 3, 0, ...bytes('EXIF'), 22, 0, 0, 0, ...exif(8, true)];
  expect(webpTurn(Uint8Array.from(file))).toBe(8);
  expect(webpTurn(Uint8Array.from(file.slice(0, 30)))).toBe(1);
});

it.each([
  [2, [2, 1, 4, 3, 6, 5]],
  [3, [6, 5, 4, 3, 2, 1]],
  [4, [5, 6, 3, 4, 1, 2]],
  [5, [1, 3, 5, 2, 4, 6]],
  [6, [5, 3, 1, 6, 4, 2]],
  [7, [6, 4, 2, 5, 3, 1]],
  [8, [2, 4, 6, 1, 3, 5]],
])('orientation %i is undone', (turn, expected) => {
  const rgb = Uint8Array.from([1, 2, 3, 4, 5, 6].flatMap((value) => [value, value, value]));
  const turned = upright({ rgb, width: 2, height: 3 }, turn);
  expect([turned.width, turned.height]).toEqual(turn >= 5 ? [3, 2] : [2, 3]);
  expect([...turned.rgb].filter((_, i) => i % 3 === 0)).toEqual(expected);
});
