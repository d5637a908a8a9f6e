import { describe, expect, it } from 'vitest';
import { a, count, imagesOf, list, megabytes, number, percent, plural, stemOf } from '../src/lib/format';

const SPACE = '\u202f'; // narrow, does not break

describe('percent', () => {
  it('shows as many digits as a reader needs', () => {
    expect([0, 0.123, 0.0123, 0.00123, 0.000123, 1].map((share) => percent(share))).toEqual(
      ['0', '12', '1.2', '0.1', '0.01', '100'].map((text) => `${text}${SPACE}%`),
    );
    expect(percent(0.77777, 1)).toBe(`77.8${SPACE}%`);
  });
  it('calls nothing all or none that is not', () => {
    for (const digits of [undefined, 0, 1, 2])
      for (const part of [0.3, 0.004, 0.00004])
        for (const [share, never] of [
          [1 - part, 100],
          [part, 0],
        ] as const)
          expect(parseFloat(percent(share, digits)), `${share} to ${digits}`).not.toBe(never);
    expect([percent(1, 1), percent(0, 1)]).toEqual([`100.0${SPACE}%`, `0.0${SPACE}%`]);
  });
  it('shows a dash for what is not known', () => {
    expect([percent(null), percent(undefined), percent(NaN), number(null), number(NaN)]).toEqual(Array(5).fill('–'));
  });
});

describe('numbers', () => {
  it('have a minus sign, not a hyphen', () => {
    expect(number(-1.5, 2)).toBe('−1.50');
  });
  it('are grouped in thousands', () => {
    expect([count(999), count(1000), count(1234567.4)]).toEqual(['999', `1${SPACE}000`, `1${SPACE}234${SPACE}567`]);
  });
  it('of bytes are never zero', () => {
    expect([megabytes(3), megabytes(999_499), megabytes(3_500_000)]).toEqual(['1 kB', '999 kB', '3.5 MB']);
  });
});

describe('words', () => {
  it('are joined, counted and given their article', () => {
    expect([list([]), list(['a']), list(['a', 'b', 'c'])]).toEqual(['', 'a', 'a, b and c']);
    expect([plural(1, 'box', 'boxes'), plural(2, 'box', 'boxes'), plural(0, 'card')]).toEqual([
      '1 box',
      '2 boxes',
      '0 cards',
    ]);
    expect([a('car'), a('animal')]).toEqual(['a car', 'an animal']);
  });
  it('name the images of a score, also as bundles of earlier versions recorded them', () => {
    expect(imagesOf({ images: 101, split: 'val' })).toBe('101 validation images');
    expect(imagesOf({ images: 9, split: 'north, ' })).toBe('9 images of north');
    expect(imagesOf({ images: 101, split: 'val (before learning from it)' })).toBe(
      '101 validation images, before they were added to training',
    );
  });
});

it('downloads are named after their image', () => {
  expect(stemOf('My photo.JPG')).toBe('My-photo');
  expect(stemOf('C:\\\\scans\\\\über 3.tar.gz'.replaceAll('\\\\', '/'))).toBe('über-3.tar');
  expect(stemOf('ct.nii.gz')).toBe('ct');
  expect(stemOf('ct.nii')).toBe('ct');
  expect(stemOf('street scene 1')).toBe('street-scene-1');
  expect(stemOf('../../.png')).toBe('image');
});
