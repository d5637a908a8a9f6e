// A mask from a file: what its values mean. A person says it where only a person knows.

import type { MaskValue } from './types';

export const VOID = 255; // counts in no score

/** Is there anything to ask? A value that no class has, or a mask of 0 and 255 alone, which means foreground, not void. */
export function isUnclear(values: readonly MaskValue[], classes: number): boolean {
  return values.some((row) => row.class === null) || isForeground(values, classes);
}

function isForeground(values: readonly MaskValue[], classes: number): boolean {
  const found = values.map((row) => row.value);
  return classes === 2 && found.includes(VOID) && found.every((value) => value === 0 || value === VOID);
}

/** A class id for each value, to be changed by a person: what the model says, else void; 255 beside 0 is class 1 of two. */
export function proposed(values: readonly MaskValue[], classes: number): Record<number, number> {
  const foreground = isForeground(values, classes);
  return Object.fromEntries(
    values.map(({ value, class: id }) => [value, foreground && value === VOID ? 1 : (id ?? VOID)]),
  );
}

/** As the server takes it: “0:0,11:255”. */
export const asQuery = (meaning: Readonly<Record<number, number>>) =>
  Object.entries(meaning)
    .map(([value, id]) => `${value}:${id}`)
    .join(',');
