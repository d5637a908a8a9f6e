// The states of an image in words, in the order in which an image goes through them.

import type { ImageState } from './labelTypes';

export const STATES: { state: ImageState; word: string; means: string }[] = [
  { state: 'untouched', word: 'untouched', means: 'nothing is labelled yet' },
  { state: 'model', word: 'proposed', means: 'the model has labelled it; nobody has accepted that yet' },
  { state: 'started', word: 'started', means: 'some of it is labelled' },
  { state: 'done', word: 'done', means: 'somebody said that it is done' },
];

export const wordOf = (state: ImageState) => STATES.find((row) => row.state === state)?.word ?? state;

/** "38 s", "12 min", "2 h 05 min" */
export function duration(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}
