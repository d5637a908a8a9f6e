// A visitor's file → the pixels that Pixelwise would read from it, upright, by the browser's own decoders where there is no
// better way. Runs in a worker.

import { upright, webpTurn } from './exifTurn';
import { isPng, pngPixels, type RgbImage } from './pngPixels';
import { count } from '../lib/format';

export type Photo = RgbImage & { notes: string[] };

/** Throws an Error whose message is for the visitor. */
export async function decodePhoto(file: Blob, name: string, maxPixels: number): Promise<Photo> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPng(bytes)) {
    const exact = await pngPixels(bytes, maxPixels).catch(() => {
      throw new Error(`${name} is damaged: its pixels cannot be decoded. Save it again, or choose another image.`);
    });
    if (exact) return { ...exact, notes: [] };
  }
  const turn = webpTurn(bytes); // browsers do not agree on WebP's
  const stored = await byBrowser(file, name, maxPixels, turn === 1 ? 'from-image' : 'none');
  return { ...upright(stored, turn), notes: stored.notes };
}

async function byBrowser(
  file: Blob,
  name: string,
  maxPixels: number,
  imageOrientation: ImageOrientation,
): Promise<Photo> {
  const asStored: ImageBitmapOptions = {
    imageOrientation,
    colorSpaceConversion: 'none', // the stored values: a model is trained on those, not on what a profile makes of them
    premultiplyAlpha: 'none',
  };
  const bitmap = await createImageBitmap(file, asStored).catch(() => {
    const remedy = 'Save it as JPEG or PNG and choose that.';
    throw new Error(`${name} is not an image that this browser can open, or it is damaged. ${remedy}`);
  });
  const { width, height } = bitmap;
  if (width * height > maxPixels) {
    bitmap.close();
    throw new Error(tooLarge(name, width, height, maxPixels));
  }
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true, colorSpace: 'srgb' });
  if (!context) throw new Error(`${name} has ${count(width)} × ${count(height)} pixels, too many for this browser.`);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(width * height * 3);
  let clear = false;
  for (let from = 0, at = 0; from < rgba.length; from += 4, at += 3) {
    rgb[at] = rgba[from]!;
    rgb[at + 1] = rgba[from + 1]!;
    rgb[at + 2] = rgba[from + 2]!;
    if (rgba[from + 3] !== 255) clear = true;
  }
  const notes = clear
    ? ['This image has transparent pixels. The browser does not keep their colours, so labels there may differ.']
    : [];
  return { rgb, width, height, notes };
}

function tooLarge(name: string, width: number, height: number, maxPixels: number): string {
  const [has, most] = [(width * height) / 1e6, maxPixels / 1e6].map((value) => value.toFixed(1).replace('.0', ''));
  return (
    `${name} has ${has} megapixels; this page labels up to ${most}. Crop it, or label it on your computer: ` +
    'pixelwise predict cuts larger images into tiles.'
  );
}
