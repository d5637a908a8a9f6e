// The keys of the room in the address, read with care: anybody may have typed them.

import type { Cell, Order } from './evaluationTypes';

export function parseCell(text: string | undefined, classes: number): Cell | null {
  const found = /^(\d{1,3}),(\d{1,3})$/.exec(text ?? '');
  if (!found) return null;
  const [t, p] = [Number(found[1]), Number(found[2])];
  return t < classes && p < classes ? { t, p } : null;
}

export function parseIndex(text: string | undefined): number | null {
  return /^\d{1,7}$/.test(text ?? '') ? Number(text) : null;
}

export function parseOrder(text: string | undefined, known: readonly Order[]): Order {
  return known.find((order) => order === text) ?? known[0]!;
}
