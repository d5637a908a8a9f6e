// The folder that the Images room shows: its facts, its rows, and the work on it.

import { untrack } from 'svelte';
import { Failure } from '../../lib/api';
import { connection } from '../../lib/connection.svelte';
import { PART, RowsByPart, type FoundRows } from '../../lib/rowsByPart.svelte';
import { room } from '../../lib/rooms.svelte';
import { app } from '../../lib/state.svelte';
import {
  folders,
  GallerySource,
  type DataFolder,
  type FolderJob,
  type GalleryFacts,
  type GalleryRow,
  type JobKind,
} from './gallerySource';
import { queryOf } from './imageFilter';

const POLL_MS = 700;
const FORGOTTEN = ['check-first', 'suspect-unknown', 'work-already']; // by a server that was started again

class GalleryRows extends RowsByPart<GalleryRow> {
  source: GallerySource | null = null;
  query: Record<string, string> = {};

  /** The index of an image among those that have been fetched; -1: it is not one of them. */
  indexOf(place: number): number {
    for (const [part, rows] of this.parts) {
      const at = rows.findIndex((row) => row.place === place);
      if (at >= 0) return part * PART + at;
    }
    return -1;
  }

  protected async ask(offset: number, limit: number, signal: AbortSignal): Promise<FoundRows<GalleryRow>> {
    return this.source ? this.source.rows({ ...this.query, offset, limit }, signal) : { total: 0, images: [] };
  }
}

export class Gallery {
  folders = $state.raw<DataFolder[] | null>(null);
  source = $state.raw<GallerySource | null>(null);
  facts = $state.raw<GalleryFacts | null>(null);
  rows = new GalleryRows((error) => app.fail(error));
  seen: [number, number] = [0, 60]; // rows in view
  lost = $state(false); // work was going on when the server went away
  private timer: ReturnType<typeof setTimeout> | undefined;
  private abort: AbortController | null = null;
  private answered = ''; // the filter of the rows
  private waiting: (() => void)[] = []; // for the check and the scores

  get folder(): DataFolder | null {
    return this.folders?.find((one) => one.key === this.source?.key) ?? null;
  }

  get running(): FolderJob | null {
    return Object.values(this.facts?.jobs ?? {}).find((job) => job.state === 'running') ?? null;
  }

  job(kind: JobKind): FolderJob | null {
    return this.facts?.jobs[kind] ?? null;
  }

  /** Open what the address names; the first folder where it names none. */
  async open(): Promise<void> {
    try {
      this.folders = await folders();
    } catch (error) {
      this.folders ??= [];
      app.fail(error);
    }
    this.follow(room.keys);
  }

  /** Another folder or filter in the address. */
  follow(keys: Record<string, string>): void {
    if (!this.folders) return;
    const key = (this.folders.find((one) => one.key === keys.data) ?? this.folders[0])?.key;
    const moved = key !== this.source?.key;
    if (moved) {
      this.source = key ? new GallerySource(key) : null;
      this.rows.source = this.source;
      this.facts = null;
      this.release();
    }
    const query = queryOf(keys);
    const asked = JSON.stringify([key, query]);
    if (asked !== this.answered) {
      this.answered = asked;
      this.rows.query = query;
      void this.rows.restart();
    }
    if (moved && key) void this.ask();
  }

  /** Ask how the folder is, again and again while something is going on. */
  async ask(): Promise<void> {
    clearTimeout(this.timer);
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    const { source, facts: before } = this;
    if (!source) return;
    try {
      const facts = await source.facts(abort.signal);
      if (abort.signal.aborted) return;
      this.facts = facts;
      this.compare(before, facts);
      await this.goOn(source, facts);
      const { scores } = room.keys;
      if (facts.checked && !this.running && (!scores || facts.scored_by?.model === scores)) this.release();
      if (facts.stage === 'opening' || this.running) this.timer = setTimeout(() => void this.ask(), POLL_MS);
    } catch (error) {
      if (!abort.signal.aborted) app.fail(error);
    }
  }

  leave(): void {
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  /** Rows are fetched over where what they say has changed. */
  private compare(before: GalleryFacts | null, now: GalleryFacts): void {
    if (!before) return;
    const told = (facts: GalleryFacts) =>
      [facts.total, facts.checked, facts.scored_by?.model, facts.counts.scored, facts.version].join();
    if (told(before) !== told(now)) void this.rows.refresh(...this.seen);
    const repairing = before.jobs.repair?.state === 'running';
    if (repairing && !now.jobs.repair) this.lost = true;
    if (repairing && now.jobs.repair?.state === 'finished') void folders().then((found) => (this.folders = found));
  }

  /** What begins by itself: the check, and the scores that the address asks for. */
  private async goOn(source: GallerySource, facts: GalleryFacts): Promise<void> {
    if (facts.stage === 'opening' || facts.stage === 'photos' || this.running) return;
    const { jobs } = facts;
    const model = room.keys.scores;
    if (!facts.checked && !jobs.check) this.put(await source.check());
    else if (model && facts.scored_by?.model !== model && !jobs.score && facts.stage === 'open')
      this.put(await source.score(model));
  }

  /** Do `work`; where a server that was started again has forgotten the check and the scores, once it has them again. */
  async asBefore<T>(work: () => Promise<T>): Promise<T> {
    const returns = untrack(() => connection.returns);
    try {
      return await work();
    } catch (error) {
      const forgotten = error instanceof Failure && FORGOTTEN.includes(error.kind);
      if (!forgotten || returns === connection.returns) throw error;
    }
    await new Promise<void>((done) => this.waiting.push(done));
    return this.asBefore(work);
  }

  private release(): void {
    for (const done of this.waiting.splice(0)) done();
  }

  /** Work that has just begun is shown at once. */
  private put(job: FolderJob): void {
    if (this.facts) this.facts = { ...this.facts, jobs: { ...this.facts.jobs, [job.kind]: job } };
  }

  async begin(work: (source: GallerySource) => Promise<FolderJob>): Promise<void> {
    const { source } = this;
    if (!source) return;
    try {
      this.lost = false;
      this.put(await this.asBefore(() => work(source)));
      await this.ask();
    } catch (error) {
      app.fail(error);
    }
  }

  score(model: string): Promise<void> {
    room.keep({ scores: model });
    return this.begin((source) => source.score(model));
  }

  async stop(): Promise<void> {
    if (this.running?.kind === 'score') room.keep({ scores: '' });
    try {
      await this.source?.stop();
      await this.ask();
    } catch (error) {
      app.fail(error);
    }
  }
}
