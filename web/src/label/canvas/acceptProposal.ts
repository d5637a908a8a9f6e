// Which proposed pixels become labels.

import { VOID_KEY, type Proposal } from '../labelTypes';
import { connected } from './floodFill';
import { PERSON, type LabelMask } from './maskEdit';

export type Accepted = 'all' | { key: number } | { x: number; y: number };

/** 1 where a proposed label is accepted, [h, w] of the proposal's window; null where nothing is. Never where the person
 * has drawn. */
export function acceptance(proposal: Proposal, what: Accepted, mask: LabelMask): Uint8Array | null {
  const { window, labels } = proposal;
  const inside = chosen(proposal, what);
  if (!inside) return null;
  for (let row = 0, at = 0; row < window.h; row++) {
    let i = (window.y + row) * mask.width + window.x;
    for (let column = 0; column < window.w; column++, at++, i++)
      if (labels[at] === VOID_KEY || mask.drawn[i] === PERSON) inside[at] = 0;
  }
  return inside;
}

function chosen(proposal: Proposal, what: Accepted): Uint8Array | null {
  const { window, labels } = proposal;
  if (what === 'all') return new Uint8Array(labels.length).fill(1);
  if ('key' in what) return labels.map((key) => Number(key === what.key));
  const [x, y] = [what.x - window.x, what.y - window.y];
  const key = proposedAt(proposal, what);
  return key === VOID_KEY ? null : connected(window.w, window.h, x, y, (at) => labels[at] === key);
}

/** What is proposed for a pixel of the image; VOID_KEY: nothing. */
export function proposedAt({ window, labels }: Proposal, { x, y }: { x: number; y: number }): number {
  const [u, v] = [x - window.x, y - window.y];
  return u >= 0 && v >= 0 && u < window.w && v < window.h ? labels[v * window.w + u]! : VOID_KEY;
}
