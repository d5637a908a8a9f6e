// The requests of the Ship room.

import { ask, json, jsonPatiently } from '../../lib/api';

export interface ShipJob {
  number: string;
  work: 'export' | 'web' | 'benchmark' | 'label';
  title: string; // of the model
  form: keyof typeof FORMS;
  shown: string; // the folder that is labelled
  state: 'running' | 'finished' | 'failed' | 'stopped';
  progress: { what?: string; done?: number; total?: number; seconds?: number };
  result: ShipResult;
}

export interface ShipResult {
  message?: string; // of a failure
  file?: string;
  bytes?: number;
  differs?: number; // share of pixels whose label is not PyTorch's
  miou_before?: number;
  miou_after?: number;
  warnings?: string[];
  beside?: number; // bytes of a web page beside the bundle
  images?: number;
  failures?: string[];
  threads?: number;
  timed?: { engine: string; milliseconds: number; fastest: number; opened_s: number; agreement: number }[];
  missing?: Record<string, string>;
}

export interface Shippable {
  reducible: boolean;
  why_not: string | null;
  web: boolean;
  jobs: ShipJob[];
}

export const FORMS = {
  float16: { title: 'float16 weights', about: 'half the file, computes in float32 as before' },
  'int8-weights': { title: 'int8 weights', about: 'a quarter of the file, computes in float32 as before' },
  int8: {
    title: 'int8 convolutions',
    about: 'a quarter of the file, faster on many CPUs; calibrated on training images',
  },
} as const;

export const shippable = (model: string) => jsonPatiently<Shippable>(`/v1/ship?model=${encodeURIComponent(model)}`);

export const startJob = (request: Record<string, string | number>) =>
  json<ShipJob>('/v1/ship/jobs', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(request),
  });
export const stopJob = (number: string) => ask(`/v1/ship/jobs/${number}/stop`, { method: 'POST' });
export const removeJob = (number: string) => ask(`/v1/ship/jobs/${number}/remove`, { method: 'POST' });
export const fileOf = (number: string) => `/v1/ship/jobs/${number}/file`;
export const bundleOf = (model: string) => `/v1/ship/bundle?model=${encodeURIComponent(model)}`;
