// One run, followed live: its events come as the server reads them from the run's trace.

import * as api from './api';
import type { Epoch, Run } from './types';

interface TraceEvent {
  event: string;
  [key: string]: unknown;
}

export interface Progress {
  what: string;
  done: number;
  total: number;
}

export class Watch {
  run = $state.raw<Run | null>(null);
  epochs = $state.raw<Epoch[]>([]);
  progress = $state.raw<Progress | null>(null);
  warnings = $state.raw<string[]>([]);
  ended = $state(false);
  failure = $state<string | null>(null);
  stopReason = $state<string | null>(null);
  lastArrival = 0; // performance.now() of the newest event, for measuring
  private source: EventSource | null = null;

  constructor(readonly name: string) {}

  open(): () => void {
    void api.run(this.name).then((run) => (this.run = run), () => undefined);
    const source = (this.source = new EventSource(`/v1/runs/${this.name}/events`));
    source.addEventListener('trace', (message) => this.take(JSON.parse(message.data as string) as TraceEvent[]));
    source.addEventListener('end', (message) => {
      this.failure = (JSON.parse(message.data as string) as { failure: string | null }).failure;
      this.ended = true;
      source.close();
      void api.run(this.name).then((run) => (this.run = run), () => undefined);
    });
    return () => this.close();
  }

  close(): void {
    this.source?.close();
  }

  private take(events: TraceEvent[]): void {
    this.lastArrival = performance.now();
    const found = events.filter((event) => event.event === 'epoch') as unknown as Epoch[];
    if (found.length) {
      const first = found[0]!.epoch; // a resumed training tells again what its checkpoint did not hold
      this.epochs = [...this.epochs.filter((epoch) => epoch.epoch < first), ...found];
      this.progress = null;
    }
    for (const event of events) {
      if (event.event === 'progress') this.progress = event as unknown as Progress;
      if (event.event === 'stop') this.stopReason = String(event.reason);
      if (event.event === 'data') {
        this.warnings = (event.warnings as string[] | undefined) ?? [];
        this.progress = { what: 'first epoch', done: 0, total: 0 };
        void api.run(this.name).then((run) => (this.run = run), () => undefined);
      }
    }
  }

  get best(): Epoch | null {
    let best: Epoch | null = null;
    for (const epoch of this.epochs) if (!best || (epoch.miou ?? -1) > (best.miou ?? -1)) best = epoch;
    return best;
  }
}
