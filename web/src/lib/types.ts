// The server's JSON. Shapes: H, W an image's own size; C classes; h, w the size of the scores.

import type { Doing } from './claims';

export interface ClassRow {
  name: string;
  colour: [number, number, number];
}

export interface ClassShare extends ClassRow {
  id: number;
  share: number; // of this image's pixels, 0–1
}

export interface Finding {
  kind: string;
  what: string;
  remedy: string;
}

/** Which slice of a volume is open. */
export interface Slices {
  number: number; // from 0
  count: number;
}

export interface Prediction {
  image: string; // the name by which the server remembers it
  width: number;
  height: number;
  classes: ClassShare[];
  milliseconds: { decode: number; predict: number };
  temperature: number;
  format: string;
  slices: Slices | null; // of a volume; null for an image
  bytes: number;
  ranges: [number, number][]; // for each band, the values below which 2 % and 98 % lie; empty for red, green and blue
  labels: Uint8Array; // [H, W]
  scores: Float32Array; // [C, h, w]
  h: number;
  w: number;
}

export interface ClassScores {
  iou: number | null;
  recall: number | null;
  precision: number | null;
}

export interface Scores {
  accuracy: number | null;
  class_accuracy: number | null;
  miou: number | null;
  pixels: number;
  classes: Record<string, ClassScores>;
}

export interface Truth {
  labels: Uint8Array; // [H, W], 255 void
  scores: Scores;
  void_share: number;
}

export interface MaskValue {
  value: number;
  share: number; // of the mask's pixels, 0–1
  class: number | null; // the class id that this model gives it; 255 void, null unknown
}

export interface ValidationScores extends Scores {
  split: string;
  epoch: number;
  images: number;
}

export interface ModelBands {
  names: string[];
  dtype: 'uint8' | 'float32';
  low: number[]; // for each band, the value that becomes 0 for the network
  high: number[]; // for each band, the value that becomes 255
  rgb: boolean; // photos: red, green and blue of 8 bits
  shown: [number, number, number]; // the bands that are shown as red, green and blue at first
}

export interface ModelFacts {
  name: string;
  title: string;
  opens: string; // what to type for MODEL
  digest: string;
  bytes: number;
  parameters: number;
  classes: ClassRow[];
  size: [number, number];
  policy: 'stretch' | 'fit' | 'native';
  bands: ModelBands;
  even_exposure: boolean;
  stride: number;
  mean: number[];
  std: number[];
  temperature: number;
  stages: { name: string; group: string }[];
  skips: string[];
  receptive_field: { network_px: number; whole_image_by_pooling: boolean } | null;
  provenance: { metrics?: ValidationScores; recipe?: Record<string, unknown>; data?: Record<string, unknown> };
  licence: Record<string, string>;
  has_run: boolean;
}

export interface ModelRow {
  name: string;
  title: string;
}

/** A folder of data that the server was started with: by --data, by its run, or what is being labelled. */
export interface DataFolder {
  key: string;
  name: string;
  path: string;
  from: 'data' | 'run' | 'labels';
}

export interface Sample {
  name: string;
  title: string;
  source: string;
  has_truth: boolean;
}

export interface WrongScale {
  changed_share: number;
  commonest: { class: string; share: number };
}

export interface FlowStage {
  stage: string;
  shape: number[];
  dtype: string;
  minimum: number;
  maximum: number;
  milliseconds: number;
  thumbnail?: string;
  mean?: number[];
  std?: number[];
  unit_range?: [number, number];
  scores_shape?: number[];
  classes_present?: number;
}

export interface Layer {
  name: string;
  group: string;
  shape: [number, number, number];
  minimum: number;
  maximum: number;
  mean: number;
  zero_share: number;
  view_px: number | null;
  step_px: number | null;
  sees_all: boolean | null;
  skip: boolean;
  skip_from: string | null; // the layer that its skip connection brings
  strongest: number;
  thumbnail: string;
}

export interface LayerValues {
  name: string;
  channels: number;
  h: number;
  w: number;
  values: Float32Array;
}

export interface Product {
  channel: number;
  row: number;
  column: number;
  input: number;
  weight: number;
  product: number;
}

export interface UnitStep {
  step: 'value' | 'convolution' | 'add' | 'activation' | 'place';
  text: string;
  result: number;
  kernel?: number;
  stride?: number;
  products?: Product[];
  count?: number;
  rest?: number;
  bias?: number;
  channels?: number; // that it sums over, from `first_channel` on
  first_channel?: number;
  reads?: string | null; // the layer that it reads, where that has a name
  corner?: [number, number]; // row and column of its window's first value
  window?: number[][][] | null;
  weights?: number[][][] | null;
}

export interface Unit {
  layer: string;
  channel: number;
  x: number;
  y: number;
  value: number;
  steps: UnitStep[];
}

export interface Bin {
  from: number;
  to: number;
  pixels: number;
  confidence: number | null;
  accuracy: number | null;
}

export interface Evaluation {
  source: string;
  images: number;
  matrix: number[][];
  scores: Scores;
  commonest: { class: string; accuracy: number; miou: number };
  boundary: {
    within_px: number;
    pixels: number;
    accuracy: number | null;
    interior_pixels: number;
    interior_accuracy: number | null;
  };
  calibration: { error: number; temperature: number; bins: Bin[] };
}

export interface Epoch {
  time?: number;
  epoch: number;
  loss: number;
  val_loss: number | null;
  accuracy: number | null;
  miou: number | null;
  learning_rate: number;
  seconds: number;
  images_per_second: number;
  best: boolean;
  observation: string;
}

export interface EpochDetail extends Epoch {
  iou: Record<string, number | null>;
  true: Record<string, number>;
  predicted: Record<string, number>;
}

export interface Run {
  name: string;
  running: boolean;
  finished: boolean;
  can_resume: boolean;
  recipe: Record<string, unknown>;
  request: NewRun | null;
  classes: ClassRow[];
  data: { train?: number; val?: number };
  previews: string[];
  photos: boolean; // whether they and their true masks can be shown: a built-in model may bring neither
  failure: string | null;
  note: string;
  queued: boolean;
}

export interface NewRun {
  name: string;
  size: [number, number];
  encoder: string;
  epochs: number;
  images: number;
  augmentation: boolean;
  folder: string | null;
}

/** A training that is planned from a folder of data. */
/** How data are read: options of `pixelwise train`; '' or [] where it is detected. */
export interface Reading {
  classes: string[]; // "name=value,value"
  void: string;
  masks: string;
  bands: string;
}

export interface PlannedRun extends Reading {
  name: string;
  data: string; // a folder of the server's, by its key
  below: string;
  settings: Record<string, unknown>; // fields of the recipe; the others are planned
  budget: string | null;
  start_from: string | null;
}

export interface TrainingNow {
  proven: boolean; // whether this browser has the token
  run: ({ name: string } & Doing) | null;
  queued: string[];
  job: ShipJobNow | null; // of the Ship room
}

export interface ShipJobNow {
  number: string;
  work: 'export' | 'web' | 'benchmark' | 'label';
  title: string; // of the model
  progress: { what?: string; done?: number; total?: number; seconds?: number };
}

/** What the plan of a training says, as it arrives. */
export type PlanEvent =
  | { event: 'progress'; what: string; done: number; total: number }
  | ({ event: 'plan' } & Plan)
  | ({ event: 'crops' } & CropRow)
  | { event: 'error'; message: string }
  | { event: 'end' };

export interface Plan {
  choices: { name: string; value: string; reason: string }[];
  warnings: string[];
  facts: { train: number; val: number; size: [number, number]; measured: number };
  recipe: Record<string, unknown>;
}

export interface CropRow {
  name: string;
  whole: string;
  crops: { epoch: number; image: string; labels: string }[];
}

export interface Runs {
  runs: Run[];
  can_train: boolean;
  install: string | null;
  local: boolean;
}
