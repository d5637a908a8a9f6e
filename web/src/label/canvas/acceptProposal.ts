// Which proposed pixels become labels.

import { VOID_KEY, type Proposal } from '../labelTypes';
import { connected } from './floodFill';

export type Accepted = 'all' | { key: number } | { x: number; y: number };

/** 1 where a proposed label is accepted, [h, w] of the proposal's window; null where nothing is. */
export function acceptance({ window, labels }: Proposal, what: Accepted): Uint8Array | null {
  if (what === 'all') return labels.map((key) => Number(key !== VOID_KEY));
  if ('key' in what) return labels.map((key) => Number(key === what.key && key !== VOID_KEY));
  const [x, y] = [what.x - window.x, what.y - window.y];
  if (x < 0 || y < 0 || x >= window.w || y >= window.h) return null;
  const key = labels[y * window.w + x]!;
  if (key === VOID_KEY) return null;
  return connected(window.w, window.h, x, y, (at) => labels[at] === key);
}
