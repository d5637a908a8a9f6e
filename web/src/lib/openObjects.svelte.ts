// The objects of the open image, shared by the table and the image: asked for when somebody opens the table.

import * as api from './api';
import { asFailure, type Failure } from './api';
import { objectAt, rowsOf, type ObjectRow } from './objectRows';
import { app } from './state.svelte';

class OpenObjects {
  open = $state(false); // the table
  rows = $state.raw<ObjectRow[] | null>(null); // null: not here yet
  excluded = $state.raw<Record<string, number>>({}); // reason → how many were left out
  failure = $state.raw<Failure | null>(null);
  chosen = $state<number | null>(null); // the label of the object that table and image point out
  pointedIn = $state.raw<'image' | 'table'>('table'); // where it was chosen
  seen = $state(false); // the table is on the page: while it is not, no outline is drawn
  private of: Uint8Array | null = null; // the labels that they were made from

  // What is drawn and listed: a class that the legend hides is hidden here too.
  shown: ObjectRow[] = $derived.by(() => {
    const hidden = new Set([...app.hidden].map((id) => app.model?.classes[id]?.name));
    return (this.rows ?? []).filter((row) => !hidden.has(row.class));
  });
  marked: ObjectRow | null = $derived(this.shown.find((row) => row.label === this.chosen) ?? null);

  /** Ask for the objects of these labels, unless they are here or on their way. */
  async load(labels: Uint8Array, again = false): Promise<void> {
    if (this.of === labels && !again) return;
    this.of = labels;
    this.rows = this.failure = this.chosen = null;
    this.excluded = {};
    try {
      const { collection, excluded } = await app.remembered((image) => api.objects(image, app.modelName));
      if (this.of !== labels) return; // another image was opened meanwhile
      this.rows = rowsOf(collection);
      this.excluded = excluded;
    } catch (error) {
      if (this.of !== labels) return;
      this.failure = asFailure(error);
      app.fail(error);
    }
  }

  choose(label: number | null, where: 'image' | 'table'): void {
    [this.chosen, this.pointedIn] = [label, where];
  }

  /** Point out the object that the pixel (x, y) belongs to, if any. */
  chooseAt(x: number, y: number): void {
    this.choose(objectAt(this.shown, x, y)?.label ?? null, 'image');
  }
}

export const objects = new OpenObjects();
