// The evaluations of the server, kept up to date while one is computed, and the one that is open.

import { app } from '../../lib/state.svelte';
import * as api from './evaluationApi';
import type { Detail, Job, NewEvaluation } from './evaluationTypes';

const EVERY_MS = 1000; // while something is computed
const DETAIL_MS = 2500; // of a report that grows

export const isUnfinished = (job: Job | null | undefined) => job?.state === 'waiting' || job?.state === 'running';

class Evaluations {
  jobs = $state.raw<Job[] | null>(null);
  detail = $state.raw<Detail | null>(null);
  private wanted = '';
  private seen = 0; // when the detail was asked for
  private timer: ReturnType<typeof setTimeout> | null = null;
  private open = false; // the room is on the page

  /** Follow the server until the room is left. */
  follow(): () => void {
    this.open = true;
    void this.tick();
    return () => {
      this.open = false;
      if (this.timer) clearTimeout(this.timer);
      this.timer = null;
    };
  }

  private async tick(): Promise<void> {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    await this.refresh();
    if (this.open && this.jobs?.some(isUnfinished)) this.timer = setTimeout(() => void this.tick(), EVERY_MS);
  }

  private async refresh(): Promise<void> {
    try {
      this.jobs = await api.list();
      const job = this.jobs.find((one) => one.id === this.wanted);
      const { detail } = this;
      if (!job || !detail || detail.id !== job.id) return;
      const ended = job.state !== detail.state;
      const grown = job.done !== detail.done && Date.now() - this.seen > DETAIL_MS;
      if (ended || grown) await this.load();
    } catch (error) {
      app.fail(error);
    }
  }

  /** Show an evaluation by its id; '' none. */
  async show(id: string): Promise<void> {
    this.wanted = id;
    if (this.detail?.id === id) return;
    this.detail = null;
    if (id) await this.load();
  }

  private async load(): Promise<void> {
    const id = this.wanted;
    this.seen = Date.now();
    try {
      const found = await api.detail(id);
      if (this.wanted === id) this.detail = found;
    } catch (error) {
      if (this.wanted === id) app.fail(error);
    }
  }

  /** Its id; '' where it could not be started. */
  async start(wanted: NewEvaluation): Promise<string> {
    return this.change(() => api.start(wanted));
  }

  stop = (id: string) => this.change(() => api.stop(id));
  resume = (id: string) => this.change(() => api.resume(id));

  async remove(id: string): Promise<void> {
    if (this.wanted === id) await this.show('');
    await this.change(() => api.remove(id));
  }

  private async change(ask: () => Promise<{ id: string }>): Promise<string> {
    try {
      const { id } = await ask();
      await this.tick();
      return id;
    } catch (error) {
      app.fail(error);
      return '';
    }
  }
}

export const evaluations = new Evaluations();
