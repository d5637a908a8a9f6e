// Flash cards: what each says follows from the model's numbers.

import { describe, expect, it } from 'vitest';
import { cards } from '../src/lib/cards';
import { number } from '../src/lib/format';
import type { Evaluation } from '../src/lib/types';
import { modelOf, predictionOf, randomNumbers } from './samples';

const back = (id: string, model = modelOf(), evaluation: Evaluation | null = null) =>
  cards(model, predictionOf('01', 2), evaluation).find((card) => card.id.startsWith(id));

const evaluated = (ious: number[]): Evaluation => ({
  source: '',
  images: 1,
  matrix: [],
  scores: {
    accuracy: 1,
    class_accuracy: 1,
    miou: 1,
    pixels: 1,
    classes: Object.fromEntries(ious.map((iou, i) => [`class ${i}`, { iou, recall: iou, precision: iou }])),
  },
  commonest: { class: 'class 0', accuracy: 1, miou: 1 },
  boundary: { within_px: 4, pixels: 0, accuracy: null, interior_pixels: 1, interior_accuracy: 1 },
  calibration: { error: 0, temperature: 1, bins: [] },
});

describe('the card of a normalised value', () => {
  it('says of which value it is where exposure is normalised before', () => {
    expect(back('normalise', modelOf({ even_exposure: true }))?.front).toContain('after exposure normalisation');
    expect(back('normalise', modelOf({ even_exposure: false }))?.front).not.toContain('exposure');
  });
  it('is arithmetic that can be done again with the numbers shown', () => {
    const next = randomNumbers(3);
    for (let round = 0; round < 30; round++) {
      const [mean, std] = [Math.round(next() * 800) / 1000, Math.round(200 + next() * 300) / 1000];
      const said = back('normalise', modelOf({ mean: [mean, mean, mean], std: [std, std, std] }))!.back;
      const [one, shownMean, shownStd, result] = said
        .match(/\d+\.?\d*/g)!
        .slice(1)
        .map(Number);
      expect(Math.abs((one! - shownMean!) / shownStd! - result!)).toBeLessThan(0.0006);
    }
  });
});

describe('the card of the temperature', () => {
  it('says over- or underconfident only where the number shown is not 1.00', () => {
    for (const [temperature, word] of [
      [1.3, 'overconfident'],
      [0.7, 'underconfident'],
      [1.004, 'next to nothing'],
      [0.996, 'next to nothing'],
      [1, 'next to nothing'],
    ] as const) {
      const said = back('temperature', modelOf({ temperature }))!.back;
      expect(said).toContain(number(temperature, 2));
      expect(said, said).toContain(word);
    }
  });
});

describe('the card of the best and the worst class', () => {
  it('names them by their IoU, and is not asked where none is best', () => {
    expect(back('best', modelOf(), evaluated([0.5, 0.9, 0.1]))?.back).toBe(
      'Highest: class 1 (0.90). Lowest: class 2 (0.10).',
    );
    expect(back('best', modelOf(), evaluated([0.501, 0.502]))).toBeUndefined();
  });
});

describe('a card of the baseline', () => {
  it('does not call a score low that is not', () => {
    expect(back('lazy', modelOf(), evaluated([1]))?.back).not.toMatch(/but|only/);
  });
});
