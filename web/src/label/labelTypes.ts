// What the server says of a labelling folder. A key is a class's number, 0–253, never reused; 255 is "not labelled".

import type { ModelBands } from '../lib/types';

export const VOID_KEY = 255;

export interface LabelClass {
  key: number;
  name: string;
  colour: [number, number, number];
  locked: boolean; // its pixels are never changed, and none are added
}

export type ImageState = 'untouched' | 'started' | 'done' | 'model';

export interface LabelFolder {
  open: boolean;
  photos: string | null;
  out: string | null;
  read_only: boolean;
  user: string;
  classes: LabelClass[];
  counts: Record<ImageState, number>;
  seconds: number;
  assistant: {
    model: string; // a run’s name; empty: built-in features
    click_model: boolean;
    ready: boolean;
    waiting: number; // images that the model has still to label beforehand, of `total`
    total: number;
    failed: string[]; // images that it could not label: why, by name
  };
  bands: { names: string[]; shown?: [number, number, number] } | null;
  can_train: boolean;
  notes: string[]; // what was found when the folder was opened, such as an edit that was cut off
  failure: string; // why nothing can be saved now; empty: it can
  importing: { done: number; total: number } | null; // masks of the dataset that become first labels
}

export interface ImageRow {
  id: string;
  name: string;
  width: number;
  height: number;
  state: ImageState;
  error: string | null; // why it cannot be read; width and height are then null
  labelled: number; // share of its pixels, 0–1
  worth: number | null;
  disagreement: number | null;
  locked_by: string | null;
  seconds: number;
}

export type ImageOrder = 'name' | 'worth' | 'disagreement';

export interface OpenedImage {
  id: string;
  name: string;
  width: number;
  height: number;
  bands: ModelBands | null;
  levels: number; // of the tile pyramid; level 0 is full size
  tile: number; // side in pixels
  version: number;
  undo: number; // edits that can be undone
  redo: number;
  state: ImageState;
  seconds: number;
  locked_by: string | null;
}

/** A part of an image, in its pixels. */
export interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** New values of a part of the mask, where `changed` is 1. */
export interface Patch extends Box {
  values: Uint8Array; // [h, w] keys
  changed: Uint8Array; // [h, w] 0 or 1
  drawn?: Uint8Array; // [h, w] who labelled it: 0 nobody, 1 a person, 2 the assistant
}

export type EditSource = 'person' | 'assistant' | 'model';

export interface Edit extends Patch {
  edit_id: string;
  tool: string;
  key: number; // of the class it paints; VOID_KEY where it erases, or paints several classes
  seconds: number; // of active time since the previous edit
  source: EditSource;
}

/** Where the edit log is after a change. */
export interface Progress {
  version: number;
  undo: number;
  redo: number;
  durable?: boolean | number;
}

export interface Proposal {
  window: Box;
  labels: Uint8Array; // [h, w] keys; VOID_KEY where nothing is proposed
  confidence: Uint8Array; // [h, w] 0–255
  leastSure: Box | null;
  source: 'assistant' | 'model';
  ms: number;
  version: number;
}

export interface ClickPoint {
  x: number;
  y: number;
  positive: boolean;
}

/** A region of the image: where `mask` is 1. */
export interface Region extends Box {
  mask: Uint8Array;
}

export type MorphOperation = 'fill-holes' | 'grow' | 'shrink' | 'smooth' | 'remove-specks';

export type Tool =
  | 'brush'
  | 'eraser'
  | 'scribble' // a brush whose strokes also ask the assistant
  | 'click' // the assistant's object at a click
  | 'polygon'
  | 'lasso'
  | 'rectangle'
  | 'flood'
  | 'superpixel'
  | 'pan';
