// What is being trained now, for every room: asked every few seconds while somebody looks at the page.

import * as api from './api';
import { Failure } from './api';
import { connection } from './connection.svelte';
import type { TrainingNow } from './types';

const EVERY_MS = 2500;

class Training {
  now = $state.raw<TrainingNow | null>(null);

  /** Follow until the returned function is called. */
  follow(): () => void {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async () => {
      if (!document.hidden && !connection.gone) await this.ask();
      if (!over) timer = setTimeout(() => void again(), EVERY_MS);
    };
    void again();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }

  /** Ask at once: something was started or stopped. */
  async ask(): Promise<void> {
    try {
      this.now = await api.trainingNow();
    } catch (error) {
      if (error instanceof Failure && error.kind === 'offline') void connection.back(); // the page says so
    }
  }
}

export const training = new Training();
