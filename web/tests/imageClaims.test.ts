// Sentences about the open image: what each says follows from its numbers, on random masks too.

import { describe, expect, it } from 'vitest';
import * as claims from '../src/lib/imageClaims';
import { innerPixel, regions } from '../src/lib/regions';
import { randomNumbers } from './samples';

const next = randomNumbers(17);
const [W, H] = [24, 16];
const masks = Array.from({ length: 30 }, () => Uint8Array.from({ length: W * H }, () => (next() < 0.3 ? 1 : 0)));
const numbersIn = (said: string) => (said.replace(/\u202f/g, '').match(/[0-9.]+/g) ?? []).map(Number);

describe('boxes', () => {
  it('hold and leave out what is said, and are said to be of a least size', () => {
    expect(claims.boxesClaim('car', 2, 24.4, 100, 60, 61)).toBe(
      '2 boxes around the regions of car of at least 25 pixels. Of the 100 pixels inside, 60 are car and 40 (40\u202f%) are not. ' +
        '1 pixel of car lies outside.',
    );
    expect(claims.boxesClaim('car', 1, 12, 100, 60, 60)).not.toContain('outside');
    expect(claims.boxesClaim('car', 0, 12, 0, 0, 5)).toBe('No region of car of at least 12 pixels gets a box.');
  });
});

describe('columns beside a region', () => {
  it('are clear as far as is said, in any mask', () => {
    for (const labels of masks) {
      const region = regions(labels, W, H, new Set([1]))[0]!;
      const clear = claims.clearColumns(labels, W, region);
      const has = (x: number) => Array.from({ length: H }, (_, y) => labels[y * W + x]).includes(1);
      for (let i = 1; i <= clear.left; i++) expect(has(region.left - i)).toBe(false);
      for (let i = 0; i < clear.right; i++) expect(has(region.right + i)).toBe(false);
      const [before, after] = [region.left - clear.left - 1, region.right + clear.right];
      expect(before < 0 || has(before)).toBe(true);
      expect(after >= W || has(after)).toBe(true);
    }
  });
  it('are named only where there are some', () => {
    expect(claims.clearClaim('car', { left: 0, right: 0 })).toBe('');
    expect(claims.clearClaim('car', { left: 1, right: 0 })).toBe('1 column to its left is clear of car.');
    expect(claims.clearClaim('car', { left: 9, right: 1 })).toBe(
      '9 columns to its left and 1 column to its right are clear of car.',
    );
  });
});

describe('what a mask of classes cannot tell', () => {
  it('says how many regions there are, of which size, and never that they are objects', () => {
    expect(claims.touchingClaim('car', 12, 3, null, null)).toMatch(
      /3 connected regions of car of at least 12 pixels\..*does not tell how many/,
    );
    expect(claims.touchingClaim('car', 12, 1, 4, null)).toMatch(/1 connected region .*; the true mask has 4\./);
    expect(claims.touchingClaim('car', 12, 0, 2, 0)).toMatch(/no connected region of car/);
  });
  it('says that regions were divided only where that gave more of them, of one or of several', () => {
    expect(claims.touchingClaim('car', 12, 3, null, 5)).toMatch(
      /they are narrow, they become 5 objects, which is a guess/,
    );
    expect(claims.touchingClaim('car', 12, 1, null, 4)).toMatch(/it is narrow, it becomes 4 objects/);
    expect(claims.touchingClaim('car', 12, 3, null, 3)).toMatch(/None of them has a narrow place/);
    expect(claims.touchingClaim('car', 12, 1, null, 1)).toMatch(/It has no narrow place/);
    expect(claims.touchingClaim('car', 12, 3, null, 2)).not.toMatch(/narrow/); // smaller ones were left out
  });
});

describe('the most uncertain pixel', () => {
  it('is never said to be more uncertain than one that is more so', () => {
    for (let round = 0; round < 50; round++) {
      const [bits, most] = [next() * 3, next() * 3];
      const said = claims.uncertainClaim({ x: 1, y: 2, bits, share: 0.5 }, { x: 3, y: 4, bits: most });
      expect(said.includes('No pixel that was compared is more uncertain')).toBe(bits >= most);
      expect(said.includes('is (3, 4)')).toBe(bits < most);
    }
  });
});

describe('the influence of parts', () => {
  const pixel = { x: 1, y: 2, class: 'car', probability: 0.8 };
  it('counts the parts that matter, and says so where none does', () => {
    for (let round = 0; round < 50; round++) {
      const drops = Array.from({ length: 3 }, () => Array.from({ length: 4 }, () => next() * 0.03 - 0.018));
      const felt = drops.flat().filter((drop) => drop > 0.01).length;
      const said = claims.influenceClaim(pixel, drops);
      if (!felt) expect(said).toContain('no part of this grid matters on its own');
      else if (felt === 1) expect(said).toContain('it alone lowers it');
      else expect(said).toContain(`${felt} of 12 parts`);
    }
  });
});

describe('a receptive field', () => {
  it('is said to reach everything only where it does from a corner, too', () => {
    for (const [h, w] of [
      [64, 96],
      [96, 64],
      [32, 32],
    ] as const) {
      for (let field = 1; field < 260; field += 3) {
        const reach = (field - 1) / 2; // to each side
        const corner = reach >= Math.max(h, w) - 1;
        const middle = reach >= Math.max(h, w) / 2;
        const said = claims.fieldClaim(field, [h, w]);
        expect(said.includes('every value can depend on every pixel'), `${field} of ${h} × ${w}`).toBe(corner);
        if (said.includes('in the middle')) expect(middle && !corner, `${field} of ${h} × ${w}`).toBe(true);
      }
    }
  });
});

describe('the label of a pixel', () => {
  const scores = [
    { name: 'car', score: 2 },
    { name: 'road', score: 1.999 },
  ];
  it('is that of the highest score, or it is said why not', () => {
    expect(claims.decisionClaim(scores, 'car')).toBe(
      'the highest score is that of car, just above that of road: that is its label.',
    );
    expect(claims.decisionClaim([scores[0]!, { name: 'road', score: 1 }], 'car')).toBe(
      'the highest score is that of car: that is its label.',
    );
    expect(claims.decisionClaim(scores, 'road')).toMatch(/so close .* its label is road\.$/);
  });
});

describe('a cell of the confusion matrix', () => {
  it('says how many pixels of the open image are in it, and what is needed to know', () => {
    expect(claims.cellClaim('car', 'road', null)).toMatch(/^Open an image with a true mask/);
    expect(claims.cellClaim('car', 'road', 0)).toBe('The open image has no pixel that is car labelled road.');
    expect(claims.cellClaim('car', 'car', 1)).toContain('1 pixel that is car, and labelled so');
    expect(numbersIn(claims.cellClaim('car', 'road', 1234))).toContain(1234);
  });
  it('pins a pixel that is in the region, in any mask', () => {
    for (const labels of masks) {
      const region = regions(labels, W, H, new Set([1]))[0]!;
      const { x, y } = innerPixel(labels, W, region);
      expect(labels[y * W + x]).toBe(1);
      expect(x >= region.left && x < region.right && y >= region.top && y < region.bottom).toBe(true);
    }
  });
});
