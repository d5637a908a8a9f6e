// Requests to the server. Every error becomes a Failure with a message and a remedy.

import { connection, isThere, untilAnswered } from './connection.svelte';
import { viewQuery, type BandView } from './falseColour';
import type { ObjectCollection } from './objectRows';
import { unpack } from './unpack';
import type {
  DataFolder,
  EpochDetail,
  Finding,
  FlowStage,
  Evaluation,
  Layer,
  LayerValues,
  MaskValue,
  Prediction,
  ModelFacts,
  ModelRow,
  NewRun,
  PlannedRun,
  Reading,
  Run,
  Runs,
  Sample,
  Scores,
  TrainingNow,
  Truth,
  Unit,
  WrongScale,
} from './types';

export class Failure extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly remedy: string,
    readonly status = 0, // of the answer; 0: there was none
  ) {
    super(message);
  }
}

export const offline = () =>
  new Failure('offline', 'The server does not respond.', 'Restart it with “pixelwise serve”.');

export const asFailure = (error: unknown): Failure =>
  error instanceof Failure ? error : new Failure('unknown', String(error), '');

const TRIES = 8; // of a busy server, each after the delay it asks for

export async function ask(path: string, options: RequestInit = {}, tries = TRIES): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, options);
    if (answer.status === 503 && answer.headers.has('Retry-After') && tries > 1) {
      await new Promise((done) => setTimeout(done, 1000 * Math.min(Number(answer.headers.get('Retry-After')) || 1, 5)));
      if (!options.signal?.aborted) return await ask(path, options, tries - 1);
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw offline();
  }
  if (answer.ok) return answer;
  const body: unknown = await answer.json().catch(() => null);
  const error = (body as { error?: { kind: string; message: string; remedy: string } } | null)?.error;
  throw new Failure(
    error?.kind ?? 'unknown',
    error?.message ?? `The server responded with status ${answer.status}.`,
    error?.remedy ?? '',
    answer.status,
  );
}

export { isThere };

export async function json<T>(path: string, options?: RequestInit): Promise<T> {
  return (await ask(path, options)).json() as Promise<T>;
}

export const TOKEN_MISSING = 'token-missing';

// A TypeError is what fetch gives when an answer breaks off in the middle.
const isGone = (error: unknown) =>
  error instanceof Failure
    ? ['offline', TOKEN_MISSING].includes(error.kind)
    : error instanceof TypeError && !(error instanceof DOMException);

/** As `ask`, for what changes nothing on the server: while that is gone it waits, and asks again when it is back. */
const askPatiently = (path: string, options: RequestInit = {}) =>
  waiting(async () => {
    const answer = await ask(path, options);
    return new Response(await answer.arrayBuffer(), { headers: answer.headers }); // whole before anybody uses it
  }, options.signal);

const waiting = <T>(work: () => Promise<T>, signal?: AbortSignal | null) =>
  untilAnswered(work, isGone, signal, connection, isLocked);

/** The beginning of an answer that is a stream. */
export const askUntilThere = (path: string) => waiting(() => ask(path));

export async function jsonPatiently<T>(path: string, options?: RequestInit): Promise<T> {
  return (await askPatiently(path, options)).json() as Promise<T>;
}

const isLocked = (error: unknown) => error instanceof Failure && error.kind === TOKEN_MISSING;
const changes: Record<string, Promise<unknown>> = {}; // on their way

/**
 * Change something on the server. It is sent once: where the server is gone it waits before that, and a second click
 * meanwhile is the same change. A refusal because the token is missing has changed nothing, so it is asked again.
 */
export function change<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T> {
  const options = body === undefined ? { method } : sent(method, body);
  const key = JSON.stringify([path, options]);
  const work = async () => {
    if (!(await isThere())) await connection.back();
    const text = await (await ask(path, options)).text();
    return (text ? JSON.parse(text) : null) as T;
  };
  changes[key] ??= untilAnswered(work, isLocked, null, connection, isLocked).finally(() => delete changes[key]);
  return changes[key] as Promise<T>;
}

export const sent = (method: string, body: unknown): RequestInit => ({
  method,
  body: JSON.stringify(body),
  headers: { 'Content-Type': 'application/json' },
});

function about(image: string, what: string, model: string, more: Record<string, string | number> = {}): string {
  const query = new URLSearchParams({ model });
  for (const [key, value] of Object.entries(more)) query.set(key, String(value));
  return `/v1/images/${image}/${what}?${query}`;
}

export const models = () => jsonPatiently<ModelRow[]>('/v1/models');
export const model = (name: string) => jsonPatiently<ModelFacts>(`/v1/model?model=${name}`);
export const evaluation = (name: string) => jsonPatiently<Evaluation | null>(`/v1/judged?model=${name}`);
export const samples = (name: string) => jsonPatiently<Sample[]>(`/v1/samples?model=${name}`);

/** A sample as the model takes it: a PNG, or for other bands than red, green and blue a NumPy array. */
export async function sampleImage(name: string, modelName: string, rgb: boolean): Promise<Blob> {
  return (await askPatiently(`/v1/samples/${name}/image?model=${modelName}&answer=${rgb ? 'png' : 'npy'}`)).blob();
}

/** `slice`: of a volume, from 0; null: the one that the server takes. */
export async function predict(
  image: Blob,
  modelName: string,
  signal?: AbortSignal,
  slice: number | null = null,
): Promise<Prediction> {
  const which = slice === null ? '' : `&slice=${slice}`;
  const answer = await askPatiently(`/v1/predict?answer=page&model=${modelName}${which}`, {
    method: 'POST',
    body: image,
    signal: signal ?? null,
  });
  const { header, arrays } = unpack<Omit<Prediction, 'labels' | 'scores' | 'h' | 'w'>>(await answer.arrayBuffer());
  const [labels, scores] = arrays;
  if (!labels || !scores) throw new Failure('answer', 'The server’s response is incomplete.', 'Open the image again.');
  const [, h = 0, w = 0] = scores.shape;
  return { ...header, labels: labels.values as Uint8Array, scores: scores.values as Float32Array, h, w };
}

/** The image as the server decoded it: for formats and bands that this browser cannot show. */
export async function picture(image: string, modelName: string, view: BandView | null = null): Promise<Blob> {
  return (await askPatiently(about(image, 'picture', modelName, view ? viewQuery(view) : {}))).blob();
}

/** Compare with a mask from a file, or with the true mask of the sample that is open. */
export async function truth(image: string, mask: Blob | string, modelName: string, ids = ''): Promise<Truth> {
  const answer =
    typeof mask === 'string'
      ? await askPatiently(about(image, 'truth', modelName, { sample: mask }))
      : await askPatiently(about(image, 'truth', modelName, ids ? { ids } : {}), { method: 'POST', body: mask });
  const { header, arrays } = unpack<{ scores: Scores; void_share: number }>(await answer.arrayBuffer());
  return { ...header, labels: arrays[0]?.values as Uint8Array };
}

/** The values that a mask holds, so that a person can say which class each of them means. */
export const maskValues = (image: string, mask: Blob, modelName: string) =>
  jsonPatiently<MaskValue[]>(about(image, 'mask-values', modelName), { method: 'POST', body: mask });

export const flow = (image: string, modelName: string) => jsonPatiently<FlowStage[]>(about(image, 'flow', modelName));
export const diagnosis = (image: string, modelName: string) =>
  jsonPatiently<Finding[]>(about(image, 'diagnosis', modelName));
export const wrongScale = (image: string, modelName: string) =>
  jsonPatiently<WrongScale>(about(image, 'wrong-scale', modelName));
export const layers = (image: string, modelName: string) => jsonPatiently<Layer[]>(about(image, 'layers', modelName));

export async function layer(image: string, name: string, modelName: string): Promise<LayerValues> {
  const answer = await askPatiently(about(image, `layers/${name}`, modelName));
  const values = unpack<{ layer: string }>(await answer.arrayBuffer()).arrays[0];
  const [channels = 0, h = 0, w = 0] = values?.shape ?? [];
  return { name, channels, h, w, values: values?.values as Float32Array };
}

/** The objects with their outlines, and how many were left out for which reason. */
export async function objects(image: string, modelName: string) {
  const answer = await askPatiently(about(image, 'objects', modelName, { answer: 'geojson' }));
  const excluded = JSON.parse(answer.headers.get('X-Objects-Excluded') ?? '{}') as Record<string, number>;
  return { collection: (await answer.json()) as ObjectCollection, excluded };
}

/** The objects of an image, touching ones divided where they are narrow. */
export const dividedObjects = (image: string, modelName: string, least: number) =>
  jsonPatiently<ObjectCollection>(
    about(image, 'objects', modelName, { answer: 'geojson', separate: 'distance', min_area: Math.round(least) }),
  );

export const objectsLink = (image: string, modelName: string) => about(image, 'objects', modelName, { answer: 'csv' });

export const unit = (image: string, modelName: string, layerName: string, channel: number, x: number, y: number) =>
  jsonPatiently<Unit>(about(image, 'unit', modelName, { layer: layerName, channel, x, y }));

export async function skips(
  image: string,
  modelName: string,
  off: string[],
): Promise<{ labels: Uint8Array; changed: number }> {
  const answer = await askPatiently(about(image, 'skips', modelName, { off: off.join(',') }));
  const { header, arrays } = unpack<{ changed_share: number }>(await answer.arrayBuffer());
  return { labels: arrays[0]?.values as Uint8Array, changed: header.changed_share };
}

export const influenceRow = (
  image: string,
  modelName: string,
  x: number,
  y: number,
  row: number,
  grid: number,
  signal: AbortSignal,
) =>
  jsonPatiently<{ drop: number[]; class: string; probability: number }>(
    about(image, 'influence', modelName, { x, y, row, grid }),
    { signal },
  );

export const pixel = (image: string, modelName: string, x: number, y: number) =>
  jsonPatiently<{ sentences: string[] }>(about(image, 'pixel', modelName, { x, y }));
export const reportLink = (image: string, modelName: string, x: number, y: number) =>
  about(image, 'report', modelName, { x, y });
export const labelsLink = (image: string, modelName: string, answer: 'png' | 'json') =>
  about(image, 'labels', modelName, { answer });

/** A file that the server makes, as bytes to be saved. */
export const download = async (link: string): Promise<Blob> => (await askPatiently(link)).blob();

/** The folders of data that the server was started with. */
export const dataFolders = () => jsonPatiently<DataFolder[]>('/v1/data');
export const foldersBelow = (key: string, below: string) =>
  jsonPatiently<string[]>(`/v1/data/${key}/folders?below=${encodeURIComponent(below)}`);

export const runs = () => jsonPatiently<Runs>('/v1/runs');
export const run = (name: string) => jsonPatiently<Run>(`/v1/runs/${name}`);
export const epoch = (name: string, number: number) => jsonPatiently<EpochDetail>(`/v1/runs/${name}/epochs/${number}`);
export const stopRun = (name: string) => change<Run>('POST', `/v1/runs/${name}/stop`);
export const resumeRun = (name: string) => change<Run>('POST', `/v1/runs/${name}/resume`);
export const startRun = (request: (NewRun | PlannedRun) & { note: string; queue: boolean }) =>
  change<Run>('POST', '/v1/runs', request);
export const keepNote = (name: string, note: string) =>
  jsonPatiently<{ note: string }>(`/v1/train/notes/${name}`, sent('PUT', { note }));
export const leaveQueue = (name: string) => change<unknown>('DELETE', `/v1/train/queue/${name}`);
export const trainingNow = () => json<TrainingNow>('/v1/training');
export function planLink(data: string, below: string, settings: Record<string, unknown>, reading: Reading): string {
  const { classes, ...rest } = reading;
  const asked = new URLSearchParams({ data, below, settings: JSON.stringify(settings), ...rest });
  for (const one of classes) asked.append('classes', one);
  return `/v1/train/plan?${asked}`;
}
export const previewLink = (name: string, epochNumber: number, index: number) =>
  `/v1/runs/${name}/previews/${epochNumber}/${index}`;
export const previewImage = (name: string, index: number) => `/v1/runs/${name}/images/${index}`;
export const previewTruth = (name: string, index: number) => `/v1/runs/${name}/truth/${index}`;
