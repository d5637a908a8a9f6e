// How many pixels of a mask have each key.

import { VOID_KEY } from './labelTypes';

/** [256] pixels by key; those not labelled at VOID_KEY. */
export function countKeys(keys: Uint8Array): Uint32Array {
  const counts = new Uint32Array(256);
  for (const key of keys) counts[key]!++;
  return counts;
}

/** The labelled keys with their shares of all pixels, the largest first. */
export function sharesOf(keys: Uint8Array): { key: number; share: number }[] {
  const found: { key: number; share: number }[] = [];
  countKeys(keys).forEach((pixels, key) => {
    if (pixels && key !== VOID_KEY) found.push({ key, share: pixels / keys.length });
  });
  return found.sort((one, other) => other.share - one.share);
}
