// One run, followed live: its events come as the server reads them from the run's trace.

import * as api from './api';
import { doingClaim, type Doing } from './claims';
import { plural } from './format';
import type { Epoch, Run } from './types';

// The events that the page shows; a trace holds other kinds, too, which are skipped.
type TraceEvent =
  | ({ event: 'epoch' } & Epoch)
  | ({ event: 'progress' } & Progress)
  | ({ event: 'stop' } & Partial<Stop>)
  | { event: 'start'; says?: string }
  | { event: 'data'; warnings?: string[] }
  | { event: 'plan' };

export type Progress = Pick<Doing, 'what' | 'done' | 'total'> & Partial<Pick<Doing, 'seconds'>>;

export interface Stop {
  reason: string; // "finished", "KeyboardInterrupt", the name of a signal or of an error
  message: string;
  epoch: number; // finished ones
}

export class LiveRun {
  run = $state.raw<Run | null>(null);
  epochs = $state.raw<Epoch[]>([]);
  progress = $state.raw<Progress | null>(null);
  warnings = $state.raw<string[]>([]);
  origin = $state<string | null>(null); // whose weights it began with, in a sentence
  ended = $state(false);
  failure = $state<string | null>(null);
  stop = $state.raw<Stop | null>(null);
  lastArrival = 0; // performance.now() of the newest event, for measuring
  private source: EventSource | null = null;

  constructor(readonly name: string) {}

  /** Complete epochs. */
  get done(): number {
    return this.epochs.at(-1)?.epoch ?? 0;
  }

  /** Epochs planned, or done where the recipe is not known. */
  get planned(): number {
    return Math.max(this.done, Number(this.run?.recipe.epochs ?? 0));
  }

  open(): () => void {
    void api.run(this.name).then(
      (run) => (this.run = run),
      () => undefined,
    );
    const source = (this.source = new EventSource(`/v1/runs/${this.name}/events`));
    source.addEventListener('trace', (message) => this.take(JSON.parse(message.data as string) as TraceEvent[]));
    source.addEventListener('error', () => {
      if (source.readyState !== EventSource.CLOSED || this.ended) return; // else the browser asks again by itself
      void api.run(this.name).then(
        () => this.source === source && this.open(), // once the server takes this browser's token again
        () => undefined, // the run is gone
      );
    });
    source.addEventListener('end', (message) => {
      this.failure = (JSON.parse(message.data as string) as { failure: string | null }).failure;
      this.ended = true;
      source.close();
      void api.run(this.name).then(
        (run) => (this.run = run),
        () => undefined,
      );
    });
    return () => this.close();
  }

  close(): void {
    this.source?.close();
    this.source = null;
  }

  private take(events: TraceEvent[]): void {
    this.lastArrival = performance.now();
    const found = events.filter((event) => event.event === 'epoch');
    if (found.length) {
      const first = found[0]!.epoch; // a resumed run repeats what its checkpoint did not hold
      this.epochs = [...this.epochs.filter((epoch) => epoch.epoch < first), ...found];
      this.progress = null;
    }
    for (const event of events) {
      this.stop =
        event.event === 'stop'
          ? { reason: event.reason ?? '', message: event.message ?? '', epoch: event.epoch ?? 0 }
          : null; // an event after a stop: the run was resumed
      if (event.event === 'progress') this.progress = event;
      if (event.event === 'start') this.origin = event.says || null;
      if (event.event === 'data') {
        this.warnings = event.warnings ?? [];
        this.progress = { what: 'first epoch', done: 0, total: 0 };
      }
      // its recipe is written before the first epoch, and changed by a plan
      if (['data', 'plan'].includes(event.event) || (event.event === 'epoch' && !this.run?.recipe.epochs)) {
        void api.run(this.name).then(
          (run) => (this.run = run),
          () => undefined,
        );
      }
    }
  }

  /** What it is doing now, in words: never silent between two events. */
  get status(): string {
    const now = this.progress ?? { what: this.done ? 'starting the next epoch' : 'starting', done: 0, total: 0 };
    return doingClaim({
      seconds: 0,
      ...now,
      epochs_done: this.done,
      epochs: this.planned,
      epoch_seconds: this.epochs.slice(-3).map((epoch) => epoch.seconds),
    });
  }

  /** How it ended and what is left, in words. What a failed process printed last is preferred to what its trace says. */
  get ending(): string {
    const stop = this.stop;
    const kept = this.run?.can_resume
      ? '; the last checkpoint is kept'
      : '; no checkpoint was written yet, so start over';
    const left = this.run?.finished ? '' : kept;
    if (stop?.reason === 'finished') return stop.message ? `finished: ${stop.message}` : 'finished';
    const at = stop?.epoch ? ` after ${plural(stop.epoch, 'complete epoch')}` : '';
    if (this.failure) return `failed${at}${left}: ${this.failure}`;
    if (stop?.reason === 'KeyboardInterrupt') return `stopped${at}${left}`;
    if (stop?.reason.startsWith('SIG')) return `stopped${at} by the system or its scheduler (${stop.reason})${left}`;
    if (stop) return `failed${at}${left}: ${stop.message || stop.reason}`;
    if (this.run?.finished) return 'finished';
    return `ended unexpectedly: its process was killed, perhaps for lack of memory, or the machine went down${left}`;
  }

  get best(): Epoch | null {
    let best: Epoch | null = null;
    for (const epoch of this.epochs) if (!best || (epoch.miou ?? -1) > (best.miou ?? -1)) best = epoch;
    return best;
  }
}
