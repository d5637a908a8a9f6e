// A textbook's typical training of a segmentation model, so that one's own can be read beside it.

import type { Epoch } from './types';

const TEXTBOOK = [
  { epoch: 1, loss: 1.2, accuracy: 0.45 },
  { epoch: 5, loss: 0.8, accuracy: 0.65 },
  { epoch: 10, loss: 0.5, accuracy: 0.8 },
  { epoch: 15, loss: 0.35, accuracy: 0.88 },
  { epoch: 20, loss: 0.3, accuracy: 0.9 },
];

export interface Landmark {
  epoch: number;
  loss: number; // the textbook's
  accuracy: number; // the textbook's, 0–1
  own: Epoch | null; // null: this training did not reach it
}

export const besideTextbook = (epochs: readonly Epoch[]): Landmark[] =>
  TEXTBOOK.map((row) => ({ ...row, own: epochs.find((one) => one.epoch === row.epoch) ?? null }));
