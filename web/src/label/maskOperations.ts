// What can be done to all pixels of a class at once.

import type { MorphOperation } from './labelTypes';

export interface OperationFacts {
  operation: MorphOperation;
  name: string;
  unit: string; // of the amount
  amount: number; // to begin with
  least: number;
  most: number | null; // null: the pixels of the image
  what: string;
}

export const OPERATIONS: readonly OperationFacts[] = [
  {
    operation: 'fill-holes',
    name: 'fill holes',
    unit: 'largest hole, in pixels (0: any)',
    amount: 0,
    least: 0,
    most: null,
    what: 'Holes that the class surrounds become the class.',
  },
  {
    operation: 'remove-specks',
    name: 'remove specks',
    unit: 'largest speck, in pixels',
    amount: 30,
    least: 1,
    most: null,
    what: 'Small areas of the class become what is nearest to them.',
  },
  {
    operation: 'grow',
    name: 'grow',
    unit: 'by pixels',
    amount: 1,
    least: 1,
    most: 500,
    what: 'The class gains a border of that width.',
  },
  {
    operation: 'shrink',
    name: 'shrink',
    unit: 'by pixels',
    amount: 1,
    least: 1,
    most: 500,
    what: 'A border of that width becomes “not labelled”.',
  },
  {
    operation: 'smooth',
    name: 'smooth',
    unit: 'radius, in pixels',
    amount: 2,
    least: 1,
    most: 500,
    what: 'Thin parts disappear and thin gaps close.',
  },
];
