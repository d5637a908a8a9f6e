// Requests of the Evaluate room.

import { change, jsonPatiently } from '../../lib/api';
import type { Cell, Detail, ImageRow, Job, NewEvaluation, Order, Split } from './evaluationTypes';

const ROOT = '/v1/evaluations';
const PAGE = 24; // images that are listed at a time

export const list = () => jsonPatiently<Job[]>(ROOT);
export const detail = (id: string) => jsonPatiently<Detail>(`${ROOT}/${id}`);
export const splits = (data: string) =>
  jsonPatiently<{ splits: Split[] }>(`${ROOT}/splits?data=${data}`).then((found) => found.splits);

export const start = (wanted: NewEvaluation) => change<Job>('POST', ROOT, wanted);
export const stop = (id: string) => change<Job>('POST', `${ROOT}/${id}/stop`);
export const resume = (id: string) => change<Job>('POST', `${ROOT}/${id}/resume`);
export const remove = (id: string) => change<{ id: string }>('POST', `${ROOT}/${id}/remove`);

const cellQuery = (cell: Cell | null) => (cell ? `&true=${cell.t}&predicted=${cell.p}` : '');

export const images = (id: string, order: Order, cell: Cell | null, offset: number) =>
  jsonPatiently<{ total: number; images: ImageRow[] }>(
    `${ROOT}/${id}/images?order=${order}${cellQuery(cell)}&offset=${offset}&limit=${PAGE}`,
  );

export type Show = 'photo' | 'truth' | 'model' | 'errors' | 'cell';
export interface View {
  show: Show;
  side?: 'a' | 'b';
  cell?: Cell | null;
}

export const pictureLink = (id: string, index: number, { show, side = 'a', cell = null }: View, px: number) =>
  `${ROOT}/${id}/images/${index}?show=${show}&side=${side}&px=${px}${show === 'cell' ? cellQuery(cell) : ''}`;

export const fileLink = (id: string, name: 'report.html' | 'images.csv' | 'comparison.json') =>
  `${ROOT}/${id}/files/${name}`;
