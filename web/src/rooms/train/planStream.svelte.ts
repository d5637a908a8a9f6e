// The plan of a training, as the server makes it: what was measured, the choices, crops of a few images.

import * as api from '../../lib/api';
import type { CropRow, Plan, PlanEvent, Reading } from '../../lib/types';

export class PlanStream {
  plan = $state.raw<Plan | null>(null);
  crops = $state.raw<CropRow[]>([]);
  progress = $state.raw<{ what: string; done: number; total: number } | null>(null);
  failure = $state('');
  done = $state(false);
  private source: EventSource | null = null;

  /** Ask for it; returns how to stop. A server that was away meanwhile is asked again by the browser. */
  open(data: string, below: string, settings: Record<string, unknown>, reading: Reading): () => void {
    const link = api.planLink(data, below, settings, reading);
    this.follow(link);
    return () => {
      this.source?.close();
      this.source = null;
    };
  }

  private follow(link: string): void {
    const source = (this.source = new EventSource(link));
    source.addEventListener('message', (message) => this.take(JSON.parse(message.data as string) as PlanEvent));
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) void this.refused(link, source);
    });
  }

  private take(row: PlanEvent): void {
    if (row.event === 'progress') {
      this.progress = row;
      [this.crops, this.failure] = [[], '']; // a second start of the same stream
    } else if (row.event === 'plan') {
      [this.plan, this.progress] = [row, null];
      this.crops = [];
    } else if (row.event === 'crops') this.crops = [...this.crops, row];
    else if (row.event === 'error') [this.failure, this.progress] = [row.message, null];
    else {
      this.done = true;
      this.source?.close();
    }
  }

  /** An answer that is no stream of events says why; a server that is gone, or wants its token, is asked again. */
  private async refused(link: string, source: EventSource): Promise<void> {
    try {
      const answer = await api.askUntilThere(link);
      await answer.body?.cancel();
      if (this.source === source) this.follow(link);
    } catch (error) {
      this.failure = error instanceof api.Failure ? `${error.message} ${error.remedy}` : String(error);
      this.progress = null;
    }
  }
}
