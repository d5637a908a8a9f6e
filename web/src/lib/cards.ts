// Flash cards made from this model and its run, and when each is due: what was missed comes back sooner.

import type { Judged, Look, ModelFacts } from './types';
import { count, number, percent, shape } from './words';

export interface Card {
  id: string; // the same for the same question about the same model
  front: string;
  back: string;
}

export function cards(model: ModelFacts, look: Look | null, judged: Judged | null): Card[] {
  const of = model.digest.slice(0, 8);
  const scored = Object.entries(judged?.scores.classes ?? model.provenance.metrics?.classes ?? {}).filter(([, row]) => row.iou !== null);
  const sorted = scored.sort(([, p], [, q]) => (q.iou ?? 0) - (p.iou ?? 0));
  const [best, worst] = [sorted[0], sorted[sorted.length - 1]];
  const made: (Card | null)[] = [
    { id: 'purpose', front: 'Why label every pixel?', back: 'To know the exact location of every object: not only that a car is there, but where it begins and ends.' },
    { id: `classes-${of}`, front: 'Which classes does this model know?', back: model.classes.map((row) => row.name).join(', ') + '.' },
    { id: `input-${of}`, front: 'At which size does this model’s network see an image?', back: model.policy === 'native' ? 'At its own size, to the nearest multiples of 32.' : `${shape(model.size)} pixels, height × width${model.policy === 'fit' ? ' at most' : ''}.` },
    { id: `stride-${of}`, front: 'What is the stride of this model’s scores, and what does that mean?', back: `${model.stride}: one position of the scores stands for ${model.stride} × ${model.stride} pixels of the network’s input.` },
    { id: `weights-${of}`, front: 'How many weights did training find for this model?', back: `${count(model.parameters)}.` },
    { id: `normalise-${of}`, front: 'A red value of 255: which number does this network receive for it?', back: `(255 / 255 − ${number(model.mean[0])}) / ${number(model.std[0])} = ${number((1 - model.mean[0]!) / model.std[0]!)}.` },
    model.skips.length ? { id: `skips-${of}`, front: 'How many skip connections does this model have, and what for?', back: `${model.skips.length}, into ${model.skips.join(', ')}: they bring fine maps from early layers, so that boundaries return to their place.` } : null,
    { id: `temperature-${of}`, front: 'This model’s scores are divided by a temperature before the softmax. Why?', back: `So that its probabilities can be believed. Its temperature is ${number(model.temperature, 2)}: ${model.temperature > 1 ? 'above 1, it was too sure of itself' : model.temperature < 1 ? 'below 1, it was not sure enough' : 'nothing had to be changed'}.` },
    best && worst ? { id: `best-${of}`, front: 'Which class does this model find best, which worst?', back: `Best ${best[0]} (IoU ${number(best[1].iou, 2)}), worst ${worst[0]} (${number(worst[1].iou, 2)}).` } : null,
    { id: 'iou', front: 'Intersection over union: what is divided by what?', back: 'The pixels that mask and truth both give the class, divided by those that at least one of them gives it.' },
    judged ? { id: `lazy-${of}`, front: `A model that always says “${judged.commonest.class}”: how accurate is it on this model’s images?`, back: `${percent(judged.commonest.accuracy, 1)} of the pixels are right, but its mIoU is only ${number(judged.commonest.miou)}.` } : null,
    judged && judged.boundary.accuracy !== null ? { id: `boundary-${of}`, front: 'Where is this model wrong most often: inside things or at their boundaries?', back: `At boundaries: ${percent(judged.boundary.accuracy, 1)} right within ${judged.boundary.within_px} pixels of one, ${percent(judged.boundary.interior_accuracy, 1)} elsewhere.` } : null,
    { id: 'void', front: 'What is void?', back: 'Pixels that nobody labelled. They count in no loss, no metric and no chart.' },
    look ? { id: `mask-${look.width}x${look.height}`, front: `An image of ${look.width} × ${look.height} pixels: how many labels does it get?`, back: `${count(look.width * look.height)}, one for each pixel.` } : null,
  ];
  return made.filter((card): card is Card => card !== null);
}

// ── spacing (Leitner 1972): five boxes, each due after four times as long as the one before ──

export interface Memory {
  box: number; // 0: missed; n: known n times running, at most 4
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
