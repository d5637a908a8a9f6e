// Training on what is labelled, from this page: the runs of the folder, the one in progress, and what labels have brought.

import * as api from '../lib/api';
import { LiveRun } from '../lib/liveRun.svelte';
import type { ModelRow, Run } from '../lib/types';
import * as labelApi from './labelApi';
import { label } from './labelState.svelte';

export class TrainingState {
  runs = $state.raw<Run[]>([]);
  models = $state.raw<ModelRow[]>([]); // that can assist: the server’s own, and those of finished runs
  install = $state<string | null>(null); // what this machine lacks to train
  live = $state.raw<LiveRun | null>(null);
  curve = $state.raw<labelApi.Curve | null>(null);

  finished: string[] = $derived(this.runs.filter((run) => run.finished).map((run) => run.name));
  isRunning: boolean = $derived(this.live !== null && !this.live.ended);

  /** The runs there are; the one in progress, or else the newest, is followed: how it ended is shown. */
  async start(): Promise<void> {
    const found = await label.doing(null, api.runs);
    if (!found) return;
    this.runs = found.runs;
    this.install = found.install;
    const ours = found.runs.filter((run) => run.name.startsWith('labels-')); // the newest first
    const run = ours.find((one) => one.running) ?? ours[0];
    if (run && this.live?.name !== run.name) this.follow(run.name);
    await Promise.all([this.refreshModels(), this.refreshCurve()]);
  }

  async train(budget: string): Promise<void> {
    const started = await label.doing('Starting the training', () => labelApi.train(budget));
    if (started) this.follow(started.run);
  }

  async stop(): Promise<void> {
    const { live } = this;
    if (live) await label.doing(null, () => api.stopRun(live.name));
  }

  /** The run has ended: it can be the assistant, and the curve has a point more. */
  async ended(): Promise<void> {
    const found = await label.doing(null, api.runs);
    if (found) this.runs = found.runs;
    await Promise.all([this.refreshModels(), this.refreshCurve()]);
  }

  close(): void {
    this.live?.close();
  }

  private async refreshModels(): Promise<void> {
    this.models = (await label.doing(null, api.models)) ?? this.models;
  }

  private async refreshCurve(): Promise<void> {
    this.curve = await label.doing(null, labelApi.curve);
  }

  private follow(run: string): void {
    this.live?.close();
    this.live = new LiveRun(run);
    this.live.open();
  }
}
