// The requests of the Ship room.

import { change, jsonPatiently, sent } from '../../lib/api';

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

/** What people write about a model; "" where nothing is written. */
export const CARD_FIELDS = {
  summary: { title: 'Summary', asks: 'What does it label, in which images?', rows: 3 },
  intended_use: { title: 'Intended use', asks: 'Who may use it, for what?', rows: 2 },
  limits: { title: 'Limits', asks: 'Where does it fail? What must it not be used for?', rows: 3 },
  data: { title: 'Data', asks: 'What was it trained on? Who labelled it?', rows: 2 },
  authors: { title: 'Authors', asks: 'Who made it?', rows: 1 },
  licence: { title: 'Licence', asks: 'Under which terms may others use the model?', rows: 1 },
  contact: { title: 'Contact', asks: 'Where do questions go?', rows: 1 },
} as const;
export type CardField = keyof typeof CARD_FIELDS;
export type CardTexts = Record<CardField, string>;

export interface ShownCard {
  title: string;
  digest: string; // of the network
  card: CardTexts;
  revision: string; // of these texts
  editable: boolean;
  why_not: string | null;
  licence: Record<string, string>; // of data and weights, as export recorded them
  metrics: { split: string | null; images: number | null; miou: number | null; accuracy: number | null };
  markdown: string;
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

export const jobTitle = (job: Pick<ShipJob, 'work' | 'form' | 'title' | 'shown'>): string =>
  ({
    export: `${FORMS[job.form].title} of ${job.title}`,
    web: `Web page of ${job.title}`,
    benchmark: `Speed of ${job.title} here`,
    label: `Labels of ${job.shown} by ${job.title}`,
  })[job.work];

/** ", 12 s left", or nothing while it cannot be known. */
export function timeLeft({ done = 0, total = 0, seconds = 0 }: ShipJob['progress']): string {
  if (!done || done >= total || seconds < 2) return '';
  const rest = (seconds / done) * (total - done);
  return rest < 90 ? `, ${Math.ceil(rest)} s left` : `, ${Math.round(rest / 60)} min left`;
}

export const shippable = (model: string) => jsonPatiently<Shippable>(`/v1/ship?model=${encodeURIComponent(model)}`);

export const startJob = (request: Record<string, string | number>) => change<ShipJob>('POST', '/v1/ship/jobs', request);
export const stopJob = (number: string) => change('POST', `/v1/ship/jobs/${number}/stop`);
export const removeJob = (number: string) => change('POST', `/v1/ship/jobs/${number}/remove`);
export const fileOf = (number: string) => `/v1/ship/jobs/${number}/file`;
export const bundleOf = (model: string) => `/v1/ship/bundle?model=${encodeURIComponent(model)}`;

const cardLink = (model: string) => `/v1/ship/card?model=${encodeURIComponent(model)}`;
export const cardOf = (model: string) => jsonPatiently<ShownCard>(cardLink(model));
/** The same card twice is written once, so it may be asked again after an answer was lost. */
export const keepCard = (model: string, card: CardTexts, revision: string) =>
  jsonPatiently<ShownCard>(cardLink(model), sent('PUT', { card, revision }));
