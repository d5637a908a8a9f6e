import { describe, expect, it } from 'vitest';
import { uncertainty, entropyBits, receptiveFieldAt, probabilities, scoresAt, softmax } from '../src/lib/scores';
import { predictionOf, modelOf, randomNumbers } from './samples';

// Two classes on a score map of 2 × 2 for an image of 4 × 4: class 0 rises to the right, class 1 downwards.
const prediction = predictionOf('0000/0000/0000/0000', 2, {
  h: 2,
  w: 2,
  scores: Float32Array.from([0, 4, 0, 4, /* class 1 */ 0, 0, 8, 8]),
});
const scores = (u: number, v: number, of = prediction) => [...scoresAt(of, u, v, new Float64Array(2))];

describe('scoresAt', () => {
  it('gives a position its own scores at its centre', () => {
    expect(scores(0.25, 0.25)).toEqual([0, 0]);
    expect(scores(0.75, 0.75)).toEqual([4, 8]);
  });
  it('interpolates linearly in both directions', () => {
    expect(scores(0.5, 0.25)).toEqual([2, 0]);
    expect(scores(0.375, 0.625)).toEqual([1, 6]);
  });
  it('repeats the outermost scores beyond the outermost centres', () => {
    expect(scores(0, 0)).toEqual([0, 0]);
    expect(scores(1, 1)).toEqual([4, 8]);
    expect(scores(-3, 9)).toEqual([0, 8]);
  });
  it('divides by the temperature', () => {
    expect(scores(0.75, 0.75, { ...prediction, temperature: 4 })).toEqual([1, 2]);
  });
  it('reads a map of a single position everywhere', () => {
    const one = { ...prediction, h: 1, w: 1, scores: Float32Array.from([3, 5]) };
    for (const [u, v] of [
      [0, 0],
      [0.5, 0.5],
      [1, 1],
    ] as const)
      expect(scores(u, v, one)).toEqual([3, 5]);
  });
});

describe('softmax', () => {
  it('gives equal scores equal probabilities', () => {
    expect([...softmax(Float64Array.of(7, 7, 7, 7))]).toEqual([0.25, 0.25, 0.25, 0.25]);
  });
  it('stays finite for scores whose exponentials are not', () => {
    expect([...softmax(Float64Array.of(2000, 0, -2000))]).toEqual([1, 0, 0]);
    expect([...softmax(Float64Array.of(-2000, -2000))]).toEqual([0.5, 0.5]);
  });
  it('is what it says: e² against e⁰', () => {
    expect(softmax(Float64Array.of(2, 0))[0]).toBeCloseTo(7.38905609893 / 8.38905609893, 10);
  });
});

describe('probabilities', () => {
  it('looks a pixel up at its centre', () => {
    const [x, y] = [2, 1]; // centre (0.625, 0.375) of the image: scores (3, 2)
    expect([...probabilities(prediction, x, y)]).toEqual([...softmax(Float64Array.of(3, 2))]);
  });
  it('adds up to one everywhere', () => {
    const random = randomNumbers(1);
    const rough = { ...prediction, scores: prediction.scores.map(() => 40 * random() - 20) };
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 4; x++) {
        expect(probabilities(rough, x, y).reduce((sum, p) => sum + p)).toBeCloseTo(1, 12);
      }
    }
  });
});

describe('entropyBits', () => {
  it('is zero for a certain class, also beside probabilities of zero', () => {
    expect(entropyBits(Float64Array.of(0, 1, 0))).toBe(0);
  });
  it('is log2 of the number of classes that are equally likely', () => {
    expect(entropyBits(Float64Array.of(0.5, 0.5))).toBe(1);
    expect(entropyBits(new Float64Array(8).fill(1 / 8))).toBe(3);
  });
});

describe('uncertainty', () => {
  it('has the confidence and entropy of every pixel of a small image', () => {
    const found = uncertainty(prediction);
    expect([found.rows, found.columns]).toEqual([4, 4]);
    const p = probabilities(prediction, 3, 1);
    expect(found.confidence[1 * 4 + 3]).toBeCloseTo(Math.max(...p), 6);
    expect(found.entropy[1 * 4 + 3]).toBeCloseTo(entropyBits(p), 6);
  });
  it('takes no more than the longest side it is given, and keeps the shape', () => {
    const found = uncertainty({ ...prediction, width: 4000, height: 1000 }, 40);
    expect([found.rows, found.columns, found.entropy.length]).toEqual([10, 40, 400]);
  });
  it('keeps at least one row of a strip', () => {
    const found = uncertainty({ ...prediction, width: 5000, height: 1 }, 50);
    expect([found.rows, found.columns]).toEqual([1, 50]);
  });
});

describe('receptiveFieldAt', () => {
  // The network's input is 4 × 4 (scores of 2 × 2 at stride 2), shown on an image of 40 × 40: a tenfold enlargement.
  const wide = { ...prediction, width: 40, height: 40 };
  const fields = (size: number) => modelOf({ receptive_field: { network_px: size, whole_image_by_pooling: false } });

  it('is unknown where the model does not tell it', () => {
    expect(receptiveFieldAt(wide, modelOf(), 5, 5)).toBeNull();
  });
  it('lies around the middle of the pixel, in pixels of the image', () => {
    expect(receptiveFieldAt(wide, fields(2), 20, 15)).toEqual({ x: 10.5, y: 5.5, width: 20, height: 20, all: false });
  });
  it('ends where the image ends', () => {
    expect(receptiveFieldAt(wide, fields(2), 0, 39)).toEqual({ x: 0, y: 29.5, width: 10.5, height: 10.5, all: false });
  });
  it('says when it covers the whole image, from a corner too', () => {
    expect(receptiveFieldAt(wide, fields(8), 0, 0)).toEqual({ x: 0, y: 0, width: 40, height: 40, all: true });
    expect(receptiveFieldAt(wide, fields(7), 0, 0)?.all).toBe(false);
  });
});
