// Flash cards about this model and its scores, and when each is due: missed ones come back sooner.

import type { Evaluation, Prediction, ModelFacts } from './types';
import { count, list, number, percent, shape } from './format';
import { shortNumber } from './falseColour';

export interface Card {
  id: string; // the same for the same question about the same model
  front: string;
  back: string;
}

/** Cards about this model, this image, and the model's scores on many images where they are known. */
export function cards(model: ModelFacts, prediction: Prediction | null, evaluation: Evaluation | null): Card[] {
  return [
    ...general(),
    ...aboutModel(model),
    ...aboutClasses(model, evaluation),
    ...aboutScores(model, evaluation),
    ...aboutImage(prediction),
  ];
}

function general(): Card[] {
  return [
    {
      id: 'purpose',
      front: 'Why label every pixel?',
      back: 'To know the exact location of every object: not only that a car is there, but where it begins and ends.',
    },
    {
      id: 'iou',
      front: 'Intersection over union: what is divided by what?',
      back: 'The pixels that both the prediction and the true mask give to the class, divided by those that at least one of them does.',
    },
    {
      id: 'void',
      front: 'What is void?',
      back: 'Pixels that nobody labelled. They count in no loss, no metric and no chart.',
    },
  ];
}

function aboutModel(model: ModelFacts): Card[] {
  const { stride, skips, temperature, bands } = model;
  const of = model.digest.slice(0, 8);
  const side = `${shape(model.size)} pixels (height × width)${model.policy === 'fit' ? ' at most' : ''}`;
  const shown = Number(temperature.toFixed(2)); // what is said of it holds for the number that is shown
  const change =
    shown > 1
      ? 'above 1, as it was overconfident'
      : shown < 1
        ? 'below 1, as it was underconfident'
        : 'that changes next to nothing';
  const normalised = number((1 - model.mean[0]!) / model.std[0]!);
  const exposure = model.even_exposure ? ' after exposure normalisation' : '';
  const found: Card[] = [
    {
      id: `classes-${of}`,
      front: 'Which classes does this model know?',
      back: `${model.classes.map((row) => row.name).join(', ')}.`,
    },
    {
      id: `input-${of}`,
      front: 'What is the input size of this model’s network?',
      back: model.policy === 'native' ? 'The image’s own size, rounded to multiples of 32.' : `${side}.`,
    },
    {
      id: `stride-${of}`,
      front: 'What is the stride of this model’s scores, and what does that mean?',
      back: `${stride}: one position of the score map stands for ${stride} × ${stride} pixels of the network’s input.`,
    },
    {
      id: `weights-${of}`,
      front: 'How many trained weights does this model have?',
      back: `${count(model.parameters)}.`,
    },
    {
      id: `normalise-${of}`,
      front: `Which value does the network receive for a ${bands.names[0]} of ${shortNumber(bands.high[0]!)}${exposure}?`,
      back: `It is scaled to 1. (1 − ${number(model.mean[0])}) / ${number(model.std[0])} = ${normalised}.`,
    },
    {
      id: `temperature-${of}`,
      front: 'Why are this model’s scores divided by a temperature before the softmax?',
      back: `To calibrate its probabilities. Its temperature is ${number(temperature, 2)}: ${change}.`,
    },
  ];
  if (!skips.length) return found;
  const front = 'How many skip connections does this model have, and what are they for?';
  const back = `${skips.length}, into ${list(skips)}: they carry fine maps from early layers, which sharpens boundaries.`;
  return [...found, { id: `skips-${of}`, front, back }];
}

function aboutClasses(model: ModelFacts, evaluation: Evaluation | null): Card[] {
  const scored = Object.entries(evaluation?.scores.classes ?? model.provenance.metrics?.classes ?? {})
    .filter(([, row]) => row.iou !== null)
    .sort(([, p], [, q]) => (q.iou ?? 0) - (p.iou ?? 0));
  const [best, worst] = [scored[0], scored.at(-1)];
  if (!best || !worst || number(best[1].iou, 2) === number(worst[1].iou, 2)) return []; // none is the highest
  const back = `Highest: ${best[0]} (${number(best[1].iou, 2)}). Lowest: ${worst[0]} (${number(worst[1].iou, 2)}).`;
  return [
    {
      id: `best-${model.digest.slice(0, 8)}`,
      front: 'Which class has the highest IoU in this model, which the lowest?',
      back,
    },
  ];
}

function aboutScores(model: ModelFacts, evaluation: Evaluation | null): Card[] {
  if (!evaluation) return [];
  const of = model.digest.slice(0, 8);
  const { commonest, boundary } = evaluation;
  const found = [
    {
      id: `lazy-${of}`,
      front: `A baseline labels every pixel “${commonest.class}”. How accurate is it on the images this model was evaluated on?`,
      back: `${percent(commonest.accuracy, 1)} of the pixels are correct; its mIoU is ${number(commonest.miou)}.`,
    },
  ];
  if (boundary.accuracy === null || boundary.interior_accuracy === null) return found;
  const near = `${percent(boundary.accuracy, 1)} of the pixels within ${boundary.within_px} pixels of a boundary`;
  const back = `It labels ${near} correctly, and ${percent(boundary.interior_accuracy, 1)} of all others.`;
  return [
    ...found,
    { id: `boundary-${of}`, front: 'How accurate is this model near boundaries, and how accurate elsewhere?', back },
  ];
}

function aboutImage(prediction: Prediction | null): Card[] {
  if (!prediction) return [];
  const size = `${prediction.width} × ${prediction.height}`;
  const back = `${count(prediction.width * prediction.height)}, one per pixel.`;
  return [{ id: `mask-${size}`, front: `How many labels does an image of ${size} pixels get?`, back }];
}

// ── spacing (Leitner 1972): five boxes, each due after four times as long as the one before ──

export interface Memory {
  box: number; // 0: missed; n: known n times in a row, at most 4
  due: number; // ms since 1970
}

const KEY = 'pixelwise-cards';
const MISSED_MS = 60_000;
export const KNOWN_MS = [10, 40, 160, 640].map((minutes) => minutes * 60_000); // known once, twice …

export function recall(): Record<string, Memory> {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, Memory>;
  } catch {
    return {};
  }
}

export function remember(memories: Record<string, Memory>): void {
  localStorage.setItem(KEY, JSON.stringify(memories));
}

export function answered(before: Memory | undefined, knew: boolean, now: number): Memory {
  const box = knew ? Math.min((before?.box ?? 0) + 1, KNOWN_MS.length) : 0;
  return { box, due: now + (box ? KNOWN_MS[box - 1]! : MISSED_MS) };
}
