// Names and numbers of a report in words.

import { percent } from '../../lib/format';
import type { Bin } from '../../lib/types';
import type { Ends, Report, Threshold, WholeScore } from './evaluationTypes';

export const NAMES: Record<WholeScore, string> = {
  miou: 'mean IoU (mIoU)',
  accuracy: 'pixel accuracy',
  class_accuracy: 'class accuracy',
  weighted_iou: 'frequency-weighted IoU',
  mean_dice: 'mean Dice',
};

export const KIND_WORDS: Record<string, string> = {
  label: 'The model is sure of another class in a whole patch: look at the mask first.',
  region: 'A whole true region is labelled as something else.',
  boundary: 'The right object with an inexact outline, within 4 px of a true boundary.',
  interior: 'Holes and patches inside regions that were otherwise found.',
};

export function interval([low, high]: Ends): string {
  return low === null || high === null ? '–' : `${percent(low, 1)} to ${percent(high, 1)}`;
}

/** A difference in percentage points, with its sign. */
export function points(difference: number | null | undefined): string {
  if (difference === null || difference === undefined) return '–';
  const value = (difference * 100).toFixed(1);
  if (Number(value) === 0) return '0.0';
  return difference > 0 ? `+${value}` : value.replace('-', '−');
}

/** How far B’s score is from A’s: “1.2 points above A’s”. */
export function apart(difference: number | null): string {
  if (difference === null) return 'undefined';
  const value = (Math.abs(difference) * 100).toFixed(1);
  if (Number(value) === 0) return 'equal to A’s, to a tenth of a point';
  return `${value} points ${difference > 0 ? 'above' : 'below'} A’s`;
}

/** The bins of the reliability diagram with their ends and their pixels. */
export function binsOf({ calibration }: Report): Bin[] {
  const { bins, pixels } = calibration;
  return bins.map(({ share, confidence, accuracy }, i) => ({
    from: i / bins.length,
    to: (i + 1) / bins.length,
    pixels: Math.round((share || 0) * pixels),
    confidence,
    accuracy,
  }));
}

/** What keeping only the pixels from a confidence on means. */
export function thresholdWords({ confidence, kept, wrong, errors_below }: Threshold): string {
  if (!kept) return `No pixel has a confidence of ${confidence} or more.`;
  if (confidence === 0) return `All pixels are kept; ${percent(wrong, 1)} of them are wrong.`;
  const below = errors_below === null ? '' : ` ${percent(errors_below, 1)} of all wrong pixels are below.`;
  return `${percent(kept, 1)} of the pixels have a confidence of ${confidence} or more; ${percent(wrong, 1)} of these are wrong.${below}`;
}
