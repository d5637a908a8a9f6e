// Requests below /v1/label. Errors are Failures, as everywhere.

import { ask, json } from '../lib/api';
import { viewQuery, type BandView } from '../lib/falseColour';
import { unpack } from '../lib/unpack';
import type {
  Box,
  ClickPoint,
  Edit,
  ImageOrder,
  ImageRow,
  ImageState,
  LabelClass,
  LabelFolder,
  MorphOperation,
  OpenedImage,
  Patch,
  Progress,
  Proposal,
  Region,
} from './labelTypes';

const of = (image: string, what: string) => `/v1/label/images/${image}/${what}`;

const post = (body: unknown, more: RequestInit = {}): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'Content-Type': 'application/json' },
  ...more,
});

/** This tab's name as holder of locks: a reload keeps it; a second tab has another, also one that is a copy. */
export async function clientId(): Promise<string> {
  for (const wait of [0, 250]) {
    const kept = sessionStorage.getItem(CLIENT);
    if (!kept) break;
    await new Promise((done) => setTimeout(done, wait)); // the page before a reload may not be gone yet
    if (await isOwn(kept)) return kept;
  }
  const made = randomId();
  sessionStorage.setItem(CLIENT, made);
  await isOwn(made);
  return made;
}

const CLIENT = 'label-client';

/** This tab needs another name: the server takes nothing more from the one that has left. */
export const forgetClient = () => sessionStorage.removeItem(CLIENT);

/** Takes a name as long as this tab lives. False: another tab has it. */
function isOwn(name: string): Promise<boolean> {
  if (!('locks' in navigator)) return Promise.resolve(true); // neither https nor this machine
  return new Promise((done) => {
    void navigator.locks.request(`${CLIENT}-${name}`, { ifAvailable: true }, (lock) => {
      done(lock !== null);
      return lock && new Promise(() => undefined);
    });
  });
}

/** 128 random bits; crypto.randomUUID exists only for https and localhost. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// ── the folder ──

export const folder = () => json<LabelFolder>('/v1/label');
export const openFolder = (request: { folder: string; out?: string; classes?: string[] }) =>
  json<LabelFolder>('/v1/label/open', post(request));
export const upload = (name: string, file: Blob) =>
  json<{ id: string }>(`/v1/label/upload?${new URLSearchParams({ name })}`, { method: 'POST', body: file });

export interface ImageQuery {
  order?: ImageOrder;
  state?: ImageState | '';
  search?: string;
  offset?: number;
  limit?: number;
}

export const images = (query: ImageQuery = {}, signal?: AbortSignal) =>
  json<{ total: number; images: ImageRow[] }>(
    `/v1/label/images?${new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]))}`,
    { signal: signal ?? null },
  );
export const thumbnailLink = (image: string, version: number | string = '') =>
  `${of(image, 'thumbnail')}${version === '' ? '' : `?v=${version}`}`;

export type ClassChange =
  | { op: 'add'; name: string; colour?: [number, number, number] }
  | { op: 'rename'; key: number; name: string }
  | { op: 'recolour'; key: number; colour: [number, number, number] }
  | { op: 'merge'; key: number; into: number }
  | { op: 'reorder'; keys: number[] }
  | { op: 'delete'; key: number }
  | { op: 'lock'; key: number; locked: boolean };

export const changeClasses = (change: ClassChange) =>
  json<{ classes: LabelClass[]; images: number; pixels: number }>('/v1/label/classes', post(change));
export const classUse = (key: number) => json<{ images: number; pixels: number }>(`/v1/label/classes/${key}/use`);

export const train = (budget: string) => json<{ run: string }>('/v1/label/train', post({ budget }));
export const chooseAssistant = (model: string) => json<LabelFolder>('/v1/label/assistant', post({ model }));

export interface CurvePoint {
  run: string;
  images: number;
  minutes: number;
  miou: number;
}

export interface Curve {
  points: CurvePoint[];
  forecast: { images: number; miou: number; low?: number; high?: number } | null; // what ten more images would bring
}

export const curve = () => json<Curve>('/v1/label/curve');
export const importMasks = (from: string) =>
  json<{ images: number; pixels: number; skipped: unknown[] }>('/v1/label/import', post({ folder: from }));
export const exportLabels = (format: string, out: string) =>
  json<{ written: unknown }>('/v1/label/export', post({ format, out }));

// ── one image ──

export const openImage = (image: string, client: string) => json<OpenedImage>(of(image, 'open'), post({ client }));

/** `keepalive`: also while the tab is being closed. Its lock lapses by itself if this fails. */
export const closeImage = (image: string, client: string, leaving = false) =>
  ask(of(image, 'close'), post({ client, leaving }, { keepalive: true })).catch(() => undefined);
/** The tab may be closing: without a further sign of life, others may open its image a few seconds later. */
export const mayClose = (image: string, client: string) =>
  ask(of(image, 'close'), post({ client, perhaps: true }, { keepalive: true })).catch(() => undefined);
export const setImageState = (image: string, client: string, state: 'done' | 'started') =>
  json<{ state: ImageState }>(of(image, 'state'), post({ client, state }));

export function tileLink(image: string, level: number, column: number, row: number, view: BandView | null): string {
  const query = view
    ? `?${new URLSearchParams(Object.entries(viewQuery(view)).map(([name, value]) => [name, String(value)]))}`
    : '';
  return `${of(image, 'tiles')}/${level}/${column}/${row}${query}`;
}

export async function tile(link: string, signal: AbortSignal): Promise<Blob> {
  return (await ask(link, { signal })).blob();
}

export async function mask(image: string): Promise<{ version: number; keys: Uint8Array; drawn: Uint8Array }> {
  const { header, arrays } = unpack<{ version: number }>(await (await ask(of(image, 'mask'))).arrayBuffer());
  return { version: header.version, keys: bytes(arrays[0]?.values), drawn: bytes(arrays[1]?.values) };
}

/** A copy that may be written to. */
const bytes = (values: ArrayLike<number> | undefined) => Uint8Array.from(values ?? []);

/** The body of an edit: the length of the header, the header, values and changed. */
export function packEdit(edit: Edit, client: string): Uint8Array<ArrayBuffer> {
  const { values, changed, edit_id, tool, key, seconds, source, x, y, w, h } = edit;
  const header = { client, edit_id, tool, key, seconds, source, x, y, w, h };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const body = new Uint8Array(4 + text.length + values.length + changed.length);
  new DataView(body.buffer).setUint32(0, text.length, true);
  body.set(text, 4);
  body.set(values, 4 + text.length);
  body.set(changed, 4 + text.length + values.length);
  return body;
}

export async function sendEdit(image: string, edit: Edit, client: string): Promise<Progress> {
  const packed = new Blob([packEdit(edit, client)]).stream().pipeThrough(new CompressionStream('gzip'));
  return json<Progress>(of(image, 'edits'), {
    method: 'POST',
    body: await new Response(packed).blob(),
    headers: { 'Content-Type': 'application/octet-stream', 'Content-Encoding': 'gzip' },
  });
}

async function patch(image: string, what: string, request: unknown): Promise<Patch & Progress> {
  const answer = await ask(of(image, what), post(request));
  const { header, arrays } = unpack<Box & Progress>(await answer.arrayBuffer());
  const [values, changed, drawn] = arrays.map((array) => bytes(array.values));
  return { ...header, values: values!, changed: changed!, ...(drawn ? { drawn } : {}) };
}

export const undo = (image: string, client: string) => patch(image, 'undo', { client });
export const redo = (image: string, client: string) => patch(image, 'redo', { client });
export const copyFrom = (image: string, client: string, from: string) => patch(image, 'copy-from', { client, from });

export interface MorphRequest {
  operation: MorphOperation;
  key: number;
  amount: number; // pixels; of specks: their largest area
  window?: Box;
}

export const morph = (image: string, client: string, request: MorphRequest) =>
  patch(image, 'morph', { client, ...request });

// ── the assistant ──

export async function propose(image: string, client: string, window: Box, signal: AbortSignal): Promise<Proposal> {
  const answer = await ask(of(image, 'propose'), post({ client, window }, { signal }));
  const { header, arrays } = unpack<Omit<Proposal, 'labels' | 'confidence' | 'leastSure'> & { least_sure: Box | null }>(
    await answer.arrayBuffer(),
  );
  const { least_sure: leastSure, ...facts } = header;
  return { ...facts, leastSure, labels: bytes(arrays[0]?.values), confidence: bytes(arrays[1]?.values) };
}

export async function clickObject(
  image: string,
  client: string,
  request: { points: ClickPoint[]; window: Box; key: number },
  signal: AbortSignal,
): Promise<Region> {
  const answer = await ask(of(image, 'click'), post({ client, ...request }, { signal }));
  const { header, arrays } = unpack<Box>(await answer.arrayBuffer());
  return { ...header, mask: bytes(arrays[0]?.values) };
}

export interface Superpixels {
  window: Box;
  ids: Uint16Array; // [h, w]
}

export async function superpixels(
  image: string,
  client: string,
  window: Box,
  size: number,
  signal: AbortSignal,
): Promise<Superpixels> {
  const answer = await ask(of(image, 'superpixels'), post({ client, window, size }, { signal }));
  const { header, arrays } = unpack<{ window: Box }>(await answer.arrayBuffer());
  return { window: header.window, ids: arrays[0]?.values as Uint16Array };
}

/** A path along edges of the image, from `anchor` to `target`. */
export async function edgePath(
  image: string,
  client: string,
  anchor: { x: number; y: number },
  target: { x: number; y: number },
  signal: AbortSignal,
): Promise<[number, number][]> {
  const answer = await json<{ points: [number, number][] }>(
    of(image, 'path'),
    post({ client, anchor, target }, { signal }),
  );
  return answer.points;
}
