// Sentences that are built from numbers. Each is tested: what it says follows from its numbers, and nothing else is said.

import { count, imagesOf, list, number, percent, plural } from './format';
import type { ClassShare, Epoch, Evaluation, Scores, ValidationScores } from './types';

/** “over the 9 classes that occur”: as many as have an IoU, which are those that the mean is taken over. */
export function averagedOver(scores: Scores): string {
  const many = Object.values(scores.classes).filter((row) => row.iou !== null).length;
  return many === 1 ? 'the only class that occurs' : `the ${many} classes that occur`;
}

export const truthClaim = (scores: Scores) =>
  `Compared with the true mask, ${percent(scores.accuracy, 1)} of the ${count(scores.pixels)} labelled pixels are correct; ` +
  `mIoU ${number(scores.miou)}, averaged over ${averagedOver(scores)} in it or in the prediction.`;

export const validationClaim = (scores: ValidationScores) =>
  `On ${imagesOf(scores)}, ${percent(scores.accuracy, 1)} of the pixels are correct; mIoU ${number(scores.miou)}, ` +
  `averaged over ${averagedOver(scores)}.`;

export const evaluationClaim = ({ source, scores }: Evaluation) =>
  `Measured on ${source}: ${percent(scores.accuracy, 1)} of ${count(scores.pixels)} labelled pixels are correct; ` +
  `mIoU ${number(scores.miou)}, averaged over ${averagedOver(scores)} in the true masks or in the predictions.`;

/** Where the errors are, counted in pixels: rates alone do not tell, as there are far more pixels inside. */
export function boundaryClaim({ boundary }: Evaluation): string {
  const { within_px, pixels, accuracy, interior_pixels, interior_accuracy } = boundary;
  const near = accuracy === null ? 0 : Math.round(pixels * (1 - accuracy));
  const inside = interior_accuracy === null ? 0 : Math.round(interior_pixels * (1 - interior_accuracy));
  const of =
    `${percent(pixels / Math.max(1, pixels + interior_pixels))} of the labelled pixels lie within ${within_px} pixels of a ` +
    `boundary between classes. The model labels ${percent(accuracy, 1)} of them correctly, and ` +
    `${percent(interior_accuracy, 1)} of all others.`;
  if (!near && !inside) return `${of} There are no errors.`;
  const larger = near > inside ? 'near a boundary' : 'in the interior';
  const most = near === inside ? 'half and half' : `most of them ${larger}`;
  return `${of} Of ${count(near + inside)} errors, ${count(near)} lie near a boundary and ${count(inside)} in the interior: ${most}.`;
}

/** The three most common classes of an image, with their shares. */
export function commonClaim(classes: readonly ClassShare[]): string {
  const present = classes.filter((row) => row.share > 0).sort((p, q) => q.share - p.share);
  if (!present.length) return 'No pixel has a label.';
  if (present.length === 1) return `All of them are ${present[0]!.name}.`;
  const named = list(present.slice(0, 3).map((row) => `${row.name} (${percent(row.share)})`));
  return `${present.length <= 3 ? 'Its classes are' : 'The most common are'} ${named}.`;
}

/** Why validation loss lies below training loss, where it does: a question that everybody asks. */
export function lossClaim(epoch: Epoch): string {
  if (epoch.val_loss === null || epoch.val_loss >= epoch.loss) return '';
  return (
    'Validation loss is below training loss here. That is common: training loss is an average over the epoch, of augmented ' +
    'images and weights that were still improving; validation loss is measured at its end, on images as they are.'
  );
}

/** How far a training is. */
export function epochClaim(epoch: number, done: number, planned: number, ended: boolean): string {
  const whole = Math.max(planned, done);
  if (ended && done < whole) return `epoch ${epoch} of ${done} done, ${plural(whole, 'epoch')} planned`;
  return `epoch ${epoch} of ${whole}`;
}

/** What a training is doing: `seconds` since this part began, and how long the latest epochs took. */
export interface Doing {
  what: string;
  done: number;
  total: number;
  seconds: number;
  epochs_done: number;
  epochs: number; // planned; 0: not known yet
  epoch_seconds: readonly number[];
}

/** “6 min”, for what is expected. */
export function durationClaim(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Seconds until all epochs are done; null where nothing was measured yet. */
export function secondsLeft(doing: Doing): number | null {
  const { done, total, seconds, epochs_done, epochs, epoch_seconds } = doing;
  const epoch = epoch_seconds.length
    ? epoch_seconds.reduce((sum, one) => sum + one, 0) / epoch_seconds.length
    : done > 0
      ? (seconds / done) * total
      : null;
  return epoch === null ? null : Math.max(0, (epochs - epochs_done) * epoch - Math.min(seconds, epoch));
}

/** “epoch 3 of 20, step 40 of 92, 6 min left”: never silent between two epochs. */
export function doingClaim(doing: Doing): string {
  const { what, done, total, epochs_done, epochs } = doing;
  if (epochs > 0 && epochs_done >= epochs)
    return `all ${plural(epochs, 'epoch')} done; exporting and checking the model`;
  const trains = /^epoch \d+$/.test(what);
  if (epochs > 0 && (trains || (what === 'validating' && total))) {
    const left = secondsLeft(doing);
    const part = trains ? `step ${count(done)} of ${count(total)}` : `validating ${count(done)} of ${count(total)}`;
    return `epoch ${epochs_done + 1} of ${epochs}, ${part}${left === null ? '' : `, ${durationClaim(left)} left`}`;
  }
  return total ? `${what}, ${count(done)} of ${count(total)}` : what;
}

/** On which images a training is validated: where it trains on them too, they are not held out. */
export const validatedClaim = (alsoTrained: boolean) =>
  alsoTrained ? 'validation images, which this training also uses' : 'held-out images';

/** What a training began with, where that was not random: its first epochs are then no first steps. */
export function beginningClaim(origin: string | null, pretrained: boolean): string {
  if (origin)
    return 'This training began with trained weights, a textbook’s with random ones: compare their first epochs with that in mind.';
  if (pretrained)
    return (
      'The encoder of this training began with weights from ImageNet, a textbook’s training with random ones: ' +
      'compare their first epochs with that in mind.'
    );
  return '';
}

/** Which images a model was trained on, and what became of those held out. */
export function trainedClaim(train: number, val: number | undefined, split: string | undefined): string {
  const first = plural(train, 'labelled image');
  if (!val) return first;
  if (split?.startsWith('val (before'))
    return `${first}; ${count(val)} were held out for validation, and added at the end`;
  if (split?.startsWith('val (')) return `${first}, and the ${count(val)} that validate it`;
  return `${first}; ${count(val)} held out for validation`;
}

/** How the majority-class baseline does: its two scores, set against each other only where they differ. */
export function baselineClaim({ commonest }: Evaluation): string {
  const low = (commonest.miou ?? 0) < (commonest.accuracy ?? 0);
  return (
    `The majority-class baseline labels every pixel “${commonest.class}”. It gets ${percent(commonest.accuracy, 1)} of these ` +
    `pixels right${low ? ', but' : ', and'} its mIoU is ${number(commonest.miou)}: mIoU gives every class the same ` +
    'weight, however few pixels it has.'
  );
}

/** The pair of classes of which the largest share is confused; empty where nothing is. */
export function confusionClaim(matrix: readonly (readonly number[])[], names: readonly string[]): string {
  let worst = { share: 0, of: 0, as: 0 };
  matrix.forEach((row, of) => {
    const total = row.reduce((sum, value) => sum + value, 0);
    row.forEach((value, as) => {
      if (of !== as && total && value / total > worst.share) worst = { share: value / total, of, as };
    });
  });
  if (!worst.share) return '';
  return `Largest confusion: ${percent(worst.share)} of the ${names[worst.of]} pixels are labelled ${names[worst.as]}.`;
}
