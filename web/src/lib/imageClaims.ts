// Sentences about the open image, its mask and a pixel of it, built from numbers. Each is tested like those of claims.ts.

import { count, list, number, percent, plural, shape } from './format';
import type { Region } from './regions';

/** What boxes around the regions of a class hold, and what they leave out: `all` pixels inside, `own` of them of the class. */
export function boxesClaim(
  name: string,
  boxes: number,
  least: number,
  all: number,
  own: number,
  total: number,
): string {
  const size = `of at least ${plural(Math.ceil(least), 'pixel')}`;
  if (!boxes) return `No region of ${name} ${size} gets a box.`;
  const around =
    boxes === 1
      ? `One box around the only region of ${name} ${size}`
      : `${count(boxes)} boxes around the regions of ${name} ${size}`;
  const outside =
    total > own ? ` ${plural(total - own, 'pixel')} of ${name} lie${total - own === 1 ? 's' : ''} outside.` : '';
  const not = `${count(all - own)} (${percent((all - own) / all)}) are not`;
  return `${around}. Of the ${plural(all, 'pixel')} inside, ${count(own)} are ${name} and ${not}.${outside}`;
}

/** How many columns beside a region hold no pixel of its class: counted up to the next one, or to the edge. */
export function clearColumns(
  labels: Uint8Array,
  width: number,
  { id, left, right }: Region,
): { left: number; right: number } {
  const has = new Uint8Array(width);
  for (let i = 0; i < labels.length; i++) if (labels[i] === id) has[i % width] = 1;
  let [first, last] = [left, right];
  while (first > 0 && !has[first - 1]) first--;
  while (last < width && !has[last]) last++;
  return { left: left - first, right: last - right };
}

export function clearClaim(name: string, clear: { left: number; right: number }): string {
  const sides = [
    ...(clear.left ? [`${plural(clear.left, 'column')} to its left`] : []),
    ...(clear.right ? [`${plural(clear.right, 'column')} to its right`] : []),
  ];
  if (!sides.length) return '';
  const one = sides.length === 1 && (clear.left || clear.right) === 1;
  return `${list(sides)} ${one ? 'is' : 'are'} clear of ${name}.`;
}

/**
 * What a mask of classes cannot tell: `regions` connected ones of at least `least` pixels in this model's mask, `truth` in the true
 * mask, `divided` objects once touching ones are divided where they narrow (null: not known).
 */
export function touchingClaim(
  name: string,
  least: number,
  regions: number,
  truth: number | null,
  divided: number | null,
): string {
  const size = `of at least ${plural(Math.ceil(least), 'pixel')}`;
  if (!regions) return `This model’s mask has no connected region of ${name} ${size}.`;
  const known = truth === null ? '' : `; the true mask has ${count(truth)}`;
  const first = `This model’s mask has ${plural(regions, 'connected region')} of ${name} ${size}${known}.`;
  const always = `Objects of ${name} that touch or overlap are one region: a mask of classes does not tell how many they are.`;
  if (divided === null || divided < regions) return `${first} ${always}`;
  if (divided === regions)
    return `${first} ${regions === 1 ? 'It has no' : 'None of them has a'} narrow place at which it would be divided. ${always}`;
  const become =
    regions === 1 ? 'Divided where it is narrow, it becomes' : 'Divided where they are narrow, they become';
  return `${first} ${become} ${count(divided)} objects, which is a guess from their shape. ${always}`;
}

/** The pixel that somebody chose as the most uncertain, against all others (`share` of them more certain) and the best one. */
export function uncertainClaim(
  chosen: { x: number; y: number; bits: number; share: number },
  most: { x: number; y: number; bits: number },
): string {
  const above = `more than at ${percent(chosen.share, 1)} of the pixels`;
  const here = `At (${chosen.x}, ${chosen.y}) the entropy is ${number(chosen.bits, 2)} bits, ${above}.`;
  if (chosen.bits >= most.bits) return `${here} No pixel that was compared is more uncertain.`;
  return `${here} The most uncertain one that was compared, with ${number(most.bits, 2)} bits, is (${most.x}, ${most.y}).`;
}

/** How much a pixel depends on the parts of a grid: the drops of its probability while each was grey. */
export function influenceClaim(
  pixel: { x: number; y: number; class: string; probability: number },
  drops: readonly (readonly number[])[],
): string {
  const flat = drops.flat();
  const highest = Math.max(...flat);
  const felt = flat.filter((drop) => drop > 0.01).length;
  const start = `Pixel (${pixel.x}, ${pixel.y}) is ${pixel.class} with probability ${number(pixel.probability, 2)}.`;
  if (!felt)
    return `${start} Greying out any single part lowers it by 0.01 at most: no part of this grid matters on its own.`;
  const many =
    felt === 1
      ? 'it alone lowers it'
      : `${count(felt)} of ${count(flat.length)} parts (${percent(felt / flat.length)}) lower it`;
  return `${start} Greying out the most important part lowers it by ${number(highest, 2)}; ${many} by more than 0.01.`;
}

/** What a receptive field means where it is as large as the network's input, [height, width]. */
export function fieldClaim(field: number, input: readonly number[]): string {
  const side = Math.max(...input);
  if (field >= 2 * side - 1)
    return 'The receptive field reaches from any position to every edge of the input: in principle, every value can depend on every pixel.';
  if (field > side)
    return (
      `The receptive field is wider than the input, ${shape(input)}: values in the middle can depend on every pixel, ` +
      'those at an edge cannot.'
    );
  return '';
}

/** Which label a pixel gets from its scores, the highest first; `label` is the one in the mask. */
export function decisionClaim(scores: readonly { name: string; score: number }[], label: string): string {
  const [first, second] = scores;
  if (!first) return '';
  if (first.name === label) {
    const close = second && first.score - second.score < 0.005 ? `, just above that of ${second.name}` : '';
    return `the highest score is that of ${label}${close}: that is its label.`;
  }
  return (
    `the scores of ${first.name} and ${label} are so close that the few digits sent to this page do not tell them ` +
    `apart; its label is ${label}.`
  );
}

/** The pixels of the open image in one cell of a confusion matrix. */
export function cellClaim(trueName: string, predicted: string, here: number | null): string {
  const what = trueName === predicted ? `${trueName}, and labelled so` : `${trueName} labelled ${predicted}`;
  if (here === null) return `Open an image with a true mask to see its pixels that are ${what}.`;
  if (!here) return `The open image has no pixel that is ${what}.`;
  return `The open image has ${plural(here, 'pixel')} that ${here === 1 ? 'is' : 'are'} ${what}. One of the largest region is pinned.`;
}
