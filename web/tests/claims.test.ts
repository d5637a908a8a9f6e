// Every sentence that is built from numbers: what it says follows from them.

import { describe, expect, it } from 'vitest';
import * as claims from '../src/lib/claims';
import { percent } from '../src/lib/format';
import type { Evaluation, Scores } from '../src/lib/types';
import { epochsOf, predictionOf, randomNumbers } from './samples';

const row = (iou: number | null) => ({ iou, recall: iou, precision: iou });
const scoresOf = (ious: (number | null)[]): Scores => {
  const known = ious.filter((iou) => iou !== null);
  return {
    accuracy: 0.9,
    class_accuracy: 0.8,
    miou: known.reduce((sum, iou) => sum + iou, 0) / known.length,
    pixels: 1000,
    classes: Object.fromEntries(ious.map((iou, i) => [`class ${i}`, row(iou)])),
  };
};
const evaluationOf = (near: [number, number], inside: [number, number]): Evaluation => ({
  source: '8 images',
  images: 8,
  matrix: [],
  scores: scoresOf([0.5, null, 0.7]),
  commonest: { class: 'class 0', accuracy: 0.5, miou: 0.2 },
  boundary: {
    within_px: 4,
    pixels: near[0],
    accuracy: near[0] ? 1 - near[1] / near[0] : null,
    interior_pixels: inside[0],
    interior_accuracy: inside[0] ? 1 - inside[1] / inside[0] : null,
  },
  calibration: { error: 0, temperature: 1, bins: [] },
});

describe('mIoU', () => {
  it('says over as many classes as its mean is taken over', () => {
    expect(claims.averagedOver(scoresOf([0.5, null, 0.7, 0]))).toBe('the 3 classes that occur');
    expect(claims.averagedOver(scoresOf([0.5, null]))).toBe('the only class that occurs');
    for (const said of [
      claims.truthClaim(scoresOf([0.5, null, 0.7])),
      claims.evaluationClaim(evaluationOf([1, 0], [1, 0])),
      claims.validationClaim({ ...scoresOf([0.5, null, 0.7]), split: 'val', epoch: 3, images: 8 }),
    ])
      expect(said).toMatch(/mIoU 0\.600, averaged over the 2 classes/);
  });
});

describe('where errors are', () => {
  it('is counted in pixels: many pixels with a low rate have more errors than few with a high one', () => {
    const said = claims.boundaryClaim(evaluationOf([100, 36], [1000, 64]));
    expect(said).toContain(
      'Of 100 errors, 36 lie near a boundary and 64 in the interior: most of them in the interior.',
    );
    expect(claims.boundaryClaim(evaluationOf([100, 60], [1000, 40]))).toContain('most of them near a boundary');
    expect(claims.boundaryClaim(evaluationOf([100, 50], [1000, 50]))).toContain('half and half');
  });
  it('says no more than is known', () => {
    expect(claims.boundaryClaim(evaluationOf([100, 0], [1000, 0]))).toContain('There are no errors.');
    for (const said of [evaluationOf([0, 0], [100, 3]), evaluationOf([100, 3], [0, 0])].map(claims.boundaryClaim))
      expect(said).not.toMatch(/NaN|undefined|null/);
  });
  it('names the larger part, whatever the numbers', () => {
    const random = randomNumbers(7);
    for (let i = 0; i < 200; i++) {
      const [near, inside] = [Math.floor(random() * 90) + 1, Math.floor(random() * 900) + 1];
      const said = claims.boundaryClaim(evaluationOf([100, near], [1000, inside]));
      const most = near > inside ? 'near a boundary' : near < inside ? 'in the interior' : 'half and half';
      expect(said.split(': ').at(-1), `${near} ${inside}`).toContain(most);
    }
  });
});

describe('the classes of an image', () => {
  it('are told by share, the largest first, and not as “most common” where they are all', () => {
    expect(claims.commonClaim(predictionOf('0011122222/3333333333', 5).classes)).toMatch(
      /^The most common are class 3 .*, class 2 .* and class 1/,
    );
    expect(claims.commonClaim(predictionOf('0111', 5).classes)).toMatch(/^Its classes are class 1 .* and class 0/);
    expect(claims.commonClaim(predictionOf('1111', 5).classes)).toBe('All of them are class 1.');
  });
});

describe('a training', () => {
  it('explains a validation loss below the training loss, only where it is below', () => {
    const [epoch] = epochsOf([0.5]);
    expect(claims.lossClaim({ ...epoch!, loss: 1, val_loss: 0.9 })).toContain('below training loss');
    for (const val_loss of [1, 1.1, null]) expect(claims.lossClaim({ ...epoch!, loss: 1, val_loss })).toBe('');
  });
  it('counts planned epochs, also while it runs and after it was stopped', () => {
    expect(claims.epochClaim(2, 2, 4, false)).toBe('epoch 2 of 4');
    expect(claims.epochClaim(1, 2, 4, true)).toBe('epoch 1 of 2 done, 4 epochs planned');
    expect(claims.epochClaim(4, 4, 4, true)).toBe('epoch 4 of 4');
    expect(claims.epochClaim(3, 3, 0, true)).toBe('epoch 3 of 3');
  });
  it('says what it is at, how far, and for how long', () => {
    const doing = {
      what: 'epoch 3',
      done: 40,
      total: 92,
      seconds: 8,
      epochs_done: 2,
      epochs: 20,
      epoch_seconds: [10, 20, 30],
    };
    expect(claims.doingClaim(doing)).toBe('epoch 3 of 20, step 40 of 92, 6 min left'); // 18 × 20 s − 8 s
    expect(claims.doingClaim({ ...doing, what: 'validating', done: 3, total: 9 })).toBe(
      'epoch 3 of 20, validating 3 of 9, 6 min left',
    );
    const first = { ...doing, what: 'epoch 1', epochs_done: 0, epochs: 2, epoch_seconds: [] };
    expect(claims.doingClaim(first)).toBe('epoch 1 of 2, step 40 of 92, 29 s left'); // 2 × 18.4 s − 8 s
    expect(claims.doingClaim({ ...first, done: 0 })).toBe('epoch 1 of 2, step 0 of 92');
    expect(claims.doingClaim({ ...doing, epochs_done: 20, what: 'exporting' })).toBe(
      'all 20 epochs done; exporting and checking the model',
    );
    expect(claims.doingClaim({ ...doing, what: 'loading images', done: 2, total: 9 })).toBe('loading images, 2 of 9');
    expect(claims.doingClaim({ ...doing, what: 'starting', done: 0, total: 0 })).toBe('starting');
    expect([20, 89, 90, 3600, 6000].map(claims.durationClaim)).toEqual([
      '20 s',
      '89 s',
      '2 min',
      '60 min',
      '1 h 40 min',
    ]);
  });
});

describe('a training', () => {
  it('is not said to be validated on held-out images where it trains on them', () => {
    expect(claims.validatedClaim(false)).toBe('held-out images');
    expect(claims.validatedClaim(true)).not.toContain('held');
  });
  it('tells what it began with, and nothing where that was random', () => {
    expect(claims.beginningClaim('It went on from earlier weights.', true)).toContain('began with trained weights');
    expect(claims.beginningClaim(null, true)).toContain('ImageNet');
    expect(claims.beginningClaim(null, false)).toBe('');
  });
  it('calls held out only what was not trained on in the end', () => {
    expect(claims.trainedClaim(1, undefined, undefined)).toBe('1 labelled image');
    expect(claims.trainedClaim(367, 101, 'val')).toMatch(/; 101 held out for validation$/);
    expect(claims.trainedClaim(367, 101, 'val (before learning from it)')).toMatch(/101 .* added at the end$/);
    expect(claims.trainedClaim(367, 101, 'val (learnt from too)')).not.toContain('held out');
  });
});

describe('the majority-class baseline', () => {
  it('is set against its accuracy only where its mIoU is lower', () => {
    const of = (accuracy: number, miou: number) =>
      claims.baselineClaim({ ...evaluationOf([1, 0], [1, 0]), commonest: { class: 'sky', accuracy, miou } });
    expect(of(0.9, 0.1)).toMatch(/90\.0.% of these pixels right, but its mIoU is 0\.100/);
    expect(of(1, 1)).toContain('right, and its mIoU is 1.000');
  });
});

describe('the largest confusion', () => {
  it('is the largest share of a true class that any matrix has off its diagonal', () => {
    const next = randomNumbers(9);
    for (let round = 0; round < 50; round++) {
      const matrix = Array.from({ length: 4 }, () => Array.from({ length: 4 }, () => Math.floor(next() * 50)));
      const shares = matrix.flatMap((row, t) =>
        row.map((value, p) => (t === p ? 0 : value / row.reduce((sum, one) => sum + one, 0))),
      );
      const most = Math.max(...shares);
      const at = shares.indexOf(most);
      const said = claims.confusionClaim(matrix, ['a', 'b', 'c', 'd']);
      expect(said).toContain(`the ${'abcd'[at >> 2]} pixels are labelled ${'abcd'[at % 4]}.`);
      expect(said).toContain(percent(most));
    }
  });
  it('is not named where there is none', () => {
    expect(
      claims.confusionClaim(
        [
          [3, 0],
          [0, 0],
        ],
        ['a', 'b'],
      ),
    ).toBe('');
  });
});
