// The server's side of the Images room.

import { change, jsonPatiently, sent } from '../../lib/api';
import type { FoundRows } from '../../lib/rowsByPart.svelte';
import type { ClassRow } from '../../lib/types';

export type PictureView = 'both' | 'image' | 'mask';
export type JobKind = 'check' | 'score' | 'repair';

export interface DataFolder {
  key: string;
  name: string;
  path: string;
  from: string; // why the server knows it: "data", "run", "labels" or "copy"
}

export interface FolderJob {
  kind: JobKind;
  state: 'running' | 'finished' | 'stopped' | 'failed';
  step: string;
  done: number;
  total: number;
  seconds_left: number | null;
  failure: string;
  problems: string[];
  result: {
    path?: string;
    name?: string;
    pairs?: number;
    left_out?: number;
    copy_problems?: string[];
    images?: number;
    suspects?: number;
  };
}

export interface FilterCounts {
  splits: Record<string, number>;
  classes: Record<string, number>; // images that hold the class of this id
  sizes: Record<string, number>; // "640x480" → images
  findings: Record<string, number>; // kind → images
  with_finding: number;
  scored: number;
}

export interface GalleryFacts {
  stage: 'opening' | 'open' | 'photos' | 'failed';
  version: number; // of the pictures
  total: number;
  layout: string | null;
  classes: ClassRow[];
  failure: string;
  checked: boolean;
  scored_by: { model: string; title: string } | null;
  counts: FilterCounts;
  jobs: Partial<Record<JobKind, FolderJob>>;
}

export interface GalleryRow {
  place: number;
  name: string;
  split: string;
  masked: boolean;
  width: number | null;
  height: number | null;
  errors: number;
  warnings: number;
  score: number | null; // mIoU, 0–1
}

export interface GalleryImage extends GalleryRow {
  image: string;
  mask: string | null;
  shares: { class: number; share: number }[];
  problems: { severity: 'error' | 'warning'; kind: string; where: string; message: string; remedy: string }[];
}

export interface FindingGroup {
  kind: string;
  severity: 'error' | 'warning';
  count: number;
  messages: { where: string; message: string }[];
  remedies: string[];
  images: number;
  places: number[];
}

export interface Findings {
  sound: boolean;
  notes: string[];
  groups: FindingGroup[];
}

export type Decided = { what: 'keep' | 'relabel' | 'void'; to: string };

export interface LabelSuspect {
  number: number;
  place: number | null;
  sample: string;
  area_px: number;
  labelled: string;
  predicted: string;
  confidence: number; // 0–1
  decision: Decided | null;
}

export interface Suspects {
  suspects: LabelSuspect[];
  decided: number;
  file: string | null;
}

export interface RepairQuestion {
  key: string;
  kind: 'values' | 'choice' | 'number' | 'yes';
  question: string;
  about: string[];
  required: boolean;
  choices: { value: string; words: string }[];
  values: { value: string; share: number; name: string }[];
}

export interface RepairForm {
  questions: RepairQuestion[];
  decisions: number;
  into: string;
}

export type RepairAnswer = string | number | boolean | Record<string, string>;

export const folders = () => jsonPatiently<DataFolder[]>('/v1/data');

/** What one folder answers. */
export class GallerySource {
  constructor(readonly key: string) {}

  link(path: string, query: Record<string, string | number> = {}): string {
    const given = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    return `/v1/data/${this.key}/gallery${path}${given.size ? `?${given}` : ''}`;
  }

  facts = (signal?: AbortSignal) => jsonPatiently<GalleryFacts>(this.link(''), signal ? { signal } : {});
  rows = (query: Record<string, string | number>, signal: AbortSignal) =>
    jsonPatiently<FoundRows<GalleryRow>>(this.link('/images', query), { signal });
  image = (place: number) => jsonPatiently<GalleryImage>(this.link(`/images/${place}`));
  findings = () => jsonPatiently<Findings>(this.link('/findings'));
  suspects = () => jsonPatiently<Suspects>(this.link('/suspects'));
  repairForm = () => jsonPatiently<RepairForm>(this.link('/repair'));
  check = () => change<FolderJob>('POST', this.link('/check'));
  score = (model: string) => change<FolderJob>('POST', this.link('/score', { model }));
  stop = () => change('POST', this.link('/stop'));
  repair = (answers: Record<string, RepairAnswer>) => change<FolderJob>('POST', this.link('/repair'), { answers });
  decide = (number: number, what: Decided['what'] | null, to = '') =>
    jsonPatiently<Suspects>(this.link(`/suspects/${number}`), sent('PUT', { what, to }));

  thumbnail = (place: number, view: PictureView, version: number) =>
    this.link(`/images/${place}/thumbnail`, { view, v: version });
  picture = (place: number, view: PictureView, version: number) =>
    this.link(`/images/${place}/picture`, { view, v: version });
  pair = (place: number) => this.link(`/images/${place}/pair`);
  suspectPicture = (number: number, view: 'image' | 'mask' | 'model', turn: number) =>
    this.link(`/suspects/${number}/picture`, { view, v: turn });
}
