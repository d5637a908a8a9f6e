// The server's JSON about evaluations. Scores are 0–1, null where undefined; C classes.

import type { Cell } from '../../lib/cellFocus.svelte';
import type { ClassRow } from '../../lib/types';

export type Kind = 'evaluation' | 'comparison';
export type Progress = 'waiting' | 'running' | 'done' | 'stopped' | 'failed';

export interface Job {
  id: string;
  kind: Kind;
  models: string[]; // one, or A and B
  titles: string[]; // of the models
  data: string; // a key of GET /v1/data
  data_name: string;
  below: string;
  split: string;
  state: Progress;
  done: number;
  images: number;
  seconds: number;
  seconds_left: number | null;
  error: { message: string; remedy: string } | null;
  kept: boolean; // on disk, over a restart of the server
  created: number;
  skip_bad: boolean;
}

export interface NewEvaluation {
  data: string;
  split: string;
  model: string;
  against?: string;
  skip_bad?: boolean;
  again?: boolean;
}

export interface Split {
  name: string;
  images: number;
}

type Share = number | null;
export type Ends = [Share, Share];
export const WHOLE = ['miou', 'accuracy', 'class_accuracy', 'weighted_iou', 'mean_dice'] as const;
export type WholeScore = (typeof WHOLE)[number];
export const CLASS_SCORES = ['iou', 'dice', 'precision', 'recall'] as const;
export type ClassScore = (typeof CLASS_SCORES)[number];
export type ClassValues = Record<ClassScore, Share>;

export interface ErrorKind {
  kind: string;
  name: string;
  pixels: number;
  share: number;
  miou_gain: Share;
}

export interface Threshold {
  confidence: number;
  kept: Share;
  wrong: Share;
  errors_below: Share;
}

export interface Suspect {
  image: string;
  x: number;
  y: number;
  width: number;
  height: number;
  pixels: number;
  mask_says: string;
  model_says: string;
  confidence: number;
}

export interface ObjectClass {
  true: number;
  predicted: number;
  f1: Share;
  mean_average_precision: Share;
  panoptic_quality: Share;
  aji: Share;
  thresholds: { iou: number; precision: Share; recall: Share; f1: Share; average_precision: Share }[];
}

export type Report = Record<WholeScore, Share> & {
  images: number;
  pixels: number;
  milliseconds: number;
  classes: Record<string, ClassValues>;
  class_rows: ClassRow[];
  baseline: Record<WholeScore, Share> & { class: string; classes: Record<string, ClassValues> };
  matrix: number[][];
  notes: string[];
  intervals: Record<WholeScore, Ends> & Record<ClassScore, Ends[]>;
  errors: ErrorKind[];
  suspects: Suspect[];
  suspects_in_all: number;
  calibration: {
    ece: Share;
    baseline_ece: Share;
    pixels: number;
    bins: { share: number; confidence: Share; accuracy: Share }[];
    thresholds: Threshold[];
  };
  objects?: { classes: Record<string, ObjectClass>; truth: string };
};

export interface Difference {
  name: string;
  a: Share;
  b: Share;
  difference: Share;
  low: Share;
  high: Share;
  p: Share;
  verdict: '' | 'better' | 'worse';
}

export interface Comparison {
  images: number;
  whole: Difference[];
  classes: Difference[];
  regions: Difference[];
  notes: string[];
  class_rows: ClassRow[];
  better: number;
  worse: number;
  unchanged: number;
}

export interface Detail extends Job {
  result: Report | Comparison | null;
}

export interface ImageRow {
  index: number;
  name: string;
  miou?: Share;
  accuracy?: Share;
  confidence?: Share;
  labelled_px?: number;
  errors?: Record<string, number>;
  pixels?: number; // of the cell that was asked for
  a?: number;
  b?: number;
  difference?: number;
}

export type Order = 'worst' | 'best' | 'cell' | 'better' | 'worse';
export type { Cell };
