// The state of a model's web page: its model, its network in a worker, and the photo that was labelled last.

import { ownFolder, startNetwork, threads, useServiceWorker } from './hostServices';
import type { FromNetwork, Labelled, ModelFile, ToNetwork } from './modelFile';

const RIGHT = 0.99; // share of the reference image's pixels that must have the recorded labels, as in Pixelwise

export interface ShownPhoto {
  name: string;
  labelled: Labelled;
  classes: { id: number; name: string; colour: [number, number, number]; share: number }[];
}

export class PhotoLabels {
  model = $state.raw<ModelFile | null>(null);
  photo = $state.raw<ShownPhoto | null>(null);
  agreement = $state<number | null>(null); // with the recorded labels of the reference image
  busy = $state('Opening …'); // '' when the page waits for the visitor
  share = $state<number | null>(null);
  failure = $state('');
  threads = $state(1);
  private network: Worker | null = null;
  private waiting: File | null = null; // chosen before the model was ready

  async open(): Promise<void> {
    try {
      await useServiceWorker();
      const answer = await fetch('model.json', { cache: 'no-cache' });
      if (!answer.ok) throw new Error('model.json is missing. It must be in the same folder as this page.');
      this.model = (await answer.json()) as ModelFile;
      document.title = `${this.model.title}: label a photo`;
      this.threads = threads();
      this.network = startNetwork();
      this.network.onmessage = ({ data }: MessageEvent<FromNetwork>) => this.hear(data);
      this.network.onerror = () => this.fail('This browser cannot run the model. Update it, or use another one.');
      this.ask({ kind: 'open', model: this.model, threads: this.threads, folder: ownFolder() });
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  label(file: File): void {
    this.failure = '';
    if (this.agreement === null) {
      this.waiting = file;
      return;
    }
    this.busy = `Labelling ${file.name} …`;
    this.ask({ kind: 'label', file, name: file.name });
  }

  private ask(message: ToNetwork): void {
    this.network?.postMessage(message);
  }

  private fail(message: string): void {
    this.failure = message;
    this.busy = '';
  }

  private hear(message: FromNetwork): void {
    if (message.kind === 'failed') {
      this.fail(message.message);
      return;
    }
    this.busy = message.kind === 'progress' ? `${message.what} …` : '';
    this.share = message.kind === 'progress' ? message.share : null;
    if (message.kind === 'ready') {
      if (message.agreement < RIGHT) {
        this.fail('This browser does not compute what the model should: use another one, or another device.');
        return;
      }
      this.agreement = message.agreement;
      this.show('the reference image', message.golden);
      if (this.waiting) this.label(this.waiting);
      this.waiting = null;
    }
    if (message.kind === 'labelled') this.show(message.name, message.labelled);
  }

  private show(name: string, labelled: Labelled): void {
    const counts = new Uint32Array(256);
    for (const id of labelled.labels) counts[id]!++;
    const classes = this.model!.classes.map((row, id) => ({ ...row, id, share: counts[id]! / labelled.labels.length }));
    this.photo?.labelled.picture.close();
    this.photo = { name, labelled, classes };
  }
}
