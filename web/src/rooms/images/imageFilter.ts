// Which images of a folder are shown, as the room's keys of the address hold it and as the server takes it.

import type { Keys } from '../../lib/roomAddress';
import type { FilterCounts, PictureView } from './gallerySource';

export const ORDERS = [
  ['name', 'by name'],
  ['worst', 'worst score first'],
  ['best', 'best score first'],
  ['class', 'most of the class first'],
  ['large', 'largest first'],
  ['small', 'smallest first'],
] as const;
export const VIEWS: [PictureView, string][] = [
  ['both', 'under their masks'],
  ['image', 'images only'],
  ['mask', 'masks only'],
];
export const FILTERS = ['split', 'class', 'size', 'finding', 'below', 'search', 'order'] as const;
const NAMES: Record<string, string> = { class: 'class_id', below: 'score_below' };

/** The query of the server. */
export function queryOf(keys: Keys): Record<string, string> {
  const given = FILTERS.filter((key) => keys[key]).map((key) => [NAMES[key] ?? key, keys[key]!]);
  return Object.fromEntries(given) as Record<string, string>;
}

export const isFiltered = (keys: Keys) => FILTERS.some((key) => key !== 'order' && keys[key]);
export const noFilter = Object.fromEntries(FILTERS.map((key) => [key, ''])) as Keys;

/** “640 × 480” for the server’s “640x480”. */
export const sizeWords = (size: string) => (size === 'other' ? 'other sizes' : size.replace('x', ' × '));

/** “near-copy-across-splits” → “near copy across splits” */
export const kindWords = (kind: string) => kind.replaceAll('-', ' ');

/** Kinds of findings with the number of images that have one, the most first. */
export const findingRows = (counts: FilterCounts) => Object.entries(counts.findings).sort((p, q) => q[1] - p[1]);

/** How long work still takes, in words. */
export function timeLeft(seconds: number | null): string {
  if (seconds === null) return '';
  if (seconds < 10) return 'a few seconds left';
  if (seconds < 90) return `${Math.round(seconds / 5) * 5} s left`;
  return `${Math.round(seconds / 60)} min left`;
}
