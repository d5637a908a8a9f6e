// The state that all parts share: the model, the image, the pixel cursor, hidden classes, the selected epoch.
// The address holds what a person chose, not what is computed.

import * as api from './api';
import { Failure } from './api';
import { connection } from './connection.svelte';
import { firstView, type BandView } from './falseColour';
import { isUnclear } from './maskValues';
import { keepImage, newKey } from './ownImages';
import { PinnedCursor } from './pinnedCursor.svelte';
import { uncertainty, type Uncertainty } from './scores';
import { askAbout } from './sentImage';
import type {
  Finding,
  FlowStage,
  Layer,
  MaskValue,
  Prediction,
  ModelFacts,
  ModelRow,
  Sample,
  Slices,
  Truth,
  WrongScale,
} from './types';
import { zoom } from './zoom.svelte';

export const TABS = [
  'overview',
  'why',
  'pipeline',
  'layers',
  'metrics',
  'challenge',
  'review',
  'project',
  'code',
] as const;
export type Tab = (typeof TABS)[number];
export const DISPLAYS = ['mask', 'confidence', 'entropy', 'compare'] as const;
export type Display = (typeof DISPLAYS)[number];
export type Theme = 'system' | 'light' | 'dark';

export interface PageError {
  message: string;
  remedy: string;
}

class PageState extends PinnedCursor {
  models = $state.raw<ModelRow[]>([]);
  model = $state.raw<ModelFacts | null>(null);
  view = $state.raw<BandView | null>(null); // the bands shown; null for models of red, green and blue
  samples = $state.raw<Sample[]>([]);
  sample = $state<string | null>(null);
  own = $state<string | null>(null); // one's own image: its key in this browser; null for samples
  kept = $state(0); // how often an image of one's own was kept
  fileName = $state(''); // of one's own image
  source = $state.raw<Blob | null>(null); // the image's own bytes
  bitmap = $state.raw<ImageBitmap | null>(null);
  truth = $state.raw<Truth | null>(null);
  second = $state.raw<{ title: string; name: string; prediction: Prediction } | null>(null);
  flow = $state.raw<FlowStage[] | null>(null);
  layers = $state.raw<Layer[] | null>(null);
  diagnosis = $state.raw<Finding[]>([]);
  wrongScale = $state.raw<WrongScale | null>(null); // the network’s labels when the image is not divided by 255

  concealed = $state(false); // a challenge is on: no label is shown
  hidden = $state.raw<ReadonlySet<number>>(new Set());
  display = $state<Display>('mask');
  opacity = $state(0.6);
  boundaries = $state(false);
  hatching = $state(localStorage.getItem('pixelwise-hatching') === 'yes'); // classes differ by lines, too
  epochMask = $state.raw<{ bitmap: ImageBitmap; epoch: number } | null>(null); // of a training, over the open image
  names = $state(true); // of classes, written on the mask
  tab = $state<Tab>('overview');
  part = $state(1); // of the tab Pipeline
  layer = $state<string | null>(null);
  epoch = $state<number | null>(null);
  theme = $state<Theme>('system');
  truthFile = $state.raw<Blob | null>(null); // the mask from a file that `truth` was read from
  maskQuestion = $state.raw<{ mask: Blob; values: MaskValue[] } | null>(null); // which value means which class
  overlay = $state.raw<{ drops: number[][]; rows: number; highest: number } | null>(null); // influence, drawn over the image

  busy = $state<string | null>(null);
  error = $state.raw<PageError | null>(null);
  announcement = $state(''); // for screen readers

  uncertainty: Uncertainty | null = $derived(this.prediction ? uncertainty(this.prediction) : null);
  slices: Slices | null = $derived(this.prediction?.slices ?? null);
  wantedSlice = $state<number | null>(null); // while it is on its way; from 0
  private abort: AbortController | null = null;
  turn = 0; // counts what was asked to be opened: the latest wins
  wantedModel = ''; // until one is open
  notice: PageError | null = null; // said once an image is open

  async openModel(name: string): Promise<void> {
    const [model, samples] = await Promise.all([api.model(name), api.samples(name)]);
    const same = this.model?.bands.names.join() === model.bands.names.join();
    if (!same || !this.view) this.view = model.bands.rgb ? null : firstView(model.bands);
    this.model = model;
    this.samples = samples;
    this.hidden = new Set();
    this.layer = null;
  }

  async chooseModel(name: string): Promise<void> {
    try {
      this.busy = 'Loading the model';
      const before = this.model?.bands;
      await this.openModel(name);
      const { source, sample, own, fileName } = this;
      const bands = this.model?.bands;
      const same = before?.names.join() === bands?.names.join() && before?.dtype === bands?.dtype;
      if (sample && this.samples.some((one) => one.name === sample)) await this.openSample(sample);
      else if (source && same)
        await this.openImage(source, null, own ? { key: own, name: fileName } : null, this.slices?.number);
      else if (source && this.samples[0]) await this.openSample(this.samples[0].name); // it takes other images
    } catch (error) {
      this.fail(error);
    } finally {
      this.busy = null;
    }
  }

  /** A task of the challenge is done: labels are seen again, as errors where a true mask is known. */
  reveal(display: Display = this.truth ? 'compare' : 'mask'): void {
    this.concealed = false;
    this.display = display;
  }

  get modelName(): string {
    return this.model?.name ?? (this.wantedModel || 'main');
  }

  /** The run that trained the loaded model; null where the server has only its bundle. */
  get runName(): string | null {
    if (this.model?.name !== 'main') return this.model?.name ?? null;
    return this.model.has_run ? 'this-model' : null;
  }

  async openSample(name: string): Promise<void> {
    const turn = ++this.turn;
    try {
      const blob = await api.sampleImage(name, this.modelName, this.model?.bands.rgb ?? true);
      if (turn !== this.turn) return; // another image was chosen while this one was on its way
      await this.openImage(blob, name);
      const hasTruth = this.samples.find((one) => one.name === name)?.has_truth;
      if (hasTruth && this.sample === name && this.source === blob) await this.openTruth(name, blob);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Show another slice of the open volume, from 0. While one is on its way, only the newest wish is kept. */
  async showSlice(number: number): Promise<void> {
    const { own, fileName, slices, source } = this;
    const waits = this.wantedSlice !== null;
    if (!own || !source || !slices || number < 0 || number >= slices.count) return;
    this.wantedSlice = number;
    if (waits) return;
    try {
      while (this.wantedSlice !== this.slices?.number && this.own === own) {
        const wanted: number = this.wantedSlice;
        await this.openImage(source, null, { key: own, name: fileName }, wanted);
        if (this.slices?.number !== wanted) break; // it could not be opened, which is said
      }
    } finally {
      this.wantedSlice = null;
    }
  }

  /** Label an image: the one way in for drops, pastes, files, photographs and samples; `kept` has been opened before.
   * `slice`: of a volume, from 0; below 0: the one that the server takes. */
  async openImage(
    blob: Blob,
    sample: string | null = null,
    kept: { key: string; name: string } | null = null,
    slice = -1,
  ): Promise<void> {
    if (!sample) this.turn++;
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    this.busy = 'Labelling every pixel';
    this.error = null;
    try {
      const predict = (number: number) => this.predictSlice(blob, number, abort.signal);
      const [prediction, shown] = await Promise.all([
        predict(slice),
        this.view || slice >= 0 ? null : createImageBitmap(blob).catch(() => null), // TIFF, for example
      ]);
      const picture = (image: string) => api.picture(image, this.modelName, this.view);
      const send = async () => (await predict(prediction.slices?.number ?? -1)).image;
      const bitmap = shown ?? (await createImageBitmap(await askAbout(prediction.image, send, picture)));
      if (abort.signal.aborted) return;
      const before = this.prediction; // the cursor of an image of another size says nothing about this one
      if (before && (prediction.width !== before.width || prediction.height !== before.height)) {
        zoom.reset();
        this.cursor = null;
        this.pinned = false;
      }
      const name = kept?.name ?? (blob instanceof File ? blob.name : '');
      this.own = sample ? null : (kept?.key ?? newKey());
      this.fileName = sample ? '' : name;
      if (this.own && !kept) void this.keep(this.own, blob, name);
      this.source = prediction.slices ? blob.slice(0, blob.size, blob.type) : blob; // another one for each slice
      this.sample = sample;
      this.prediction = prediction;
      this.bitmap = bitmap;
      this.truth = null;
      this.truthFile = null;
      this.maskQuestion = null;
      this.pointer = null;
      this.second = null;
      this.flow = null;
      this.layers = null;
      this.diagnosis = [];
      this.wrongScale = null;
      this.overlay = null;
      this.epochMask = null;
      if (this.display === 'compare') this.display = 'mask';
      const inside = this.cursor && this.cursor.x < prediction.width && this.cursor.y < prediction.height;
      if (!inside) this.free({ x: prediction.width >> 1, y: prediction.height >> 1 });
      const top = [...prediction.classes].sort((p, q) => q.share - p.share).slice(0, 3);
      const which = prediction.slices ? `Slice ${prediction.slices.number + 1} of ${prediction.slices.count}. ` : '';
      this.announcement = `${which}Labelled. ${top.map((row) => `${row.name} ${Math.round(row.share * 100)} %`).join(', ')}.`;
      if (this.notice) this.error = this.notice;
      this.notice = null;
      void this.openInside();
    } catch (error) {
      if (!abort.signal.aborted) this.fail(error);
    } finally {
      if (this.abort === abort) this.busy = null;
    }
  }

  /** The labels of a slice, or of an image; where a volume has no slice of that number, of the one that the server takes. */
  private async predictSlice(blob: Blob, slice: number, signal?: AbortSignal): Promise<Prediction> {
    if (slice < 0) return api.predict(blob, this.modelName, signal);
    try {
      return await api.predict(blob, this.modelName, signal, slice);
    } catch (error) {
      if (!(error instanceof Failure) || (error.kind !== 'no-slice' && error.kind !== 'no-volume')) throw error;
      this.notice = { message: `This file has no slice ${slice + 1}.`, remedy: 'Another one is shown instead.' };
      return api.predict(blob, this.modelName, signal);
    }
  }

  private async keep(key: string, blob: Blob, name: string): Promise<void> {
    const kept = await keepImage({ key, blob, name, time: Date.now() });
    this.kept++;
    if (kept) return;
    if (this.own === key) this.announcement = 'This browser keeps no images: a reload will not find this one.';
  }

  /** Show other bands, or another window of values. */
  async showBands(view: BandView): Promise<void> {
    this.view = view;
    const { source, modelName } = this;
    try {
      const png = await this.remembered((image) => api.picture(image, modelName, view));
      const bitmap = await createImageBitmap(png);
      if (this.view === view && this.source === source) this.bitmap = bitmap; // else something else was chosen meanwhile
    } catch (error) {
      this.fail(error);
    }
  }

  /** The ribbon's content: not needed to see the mask, so it comes after. */
  private async openInside(): Promise<void> {
    const { source, modelName } = this;
    const current = () => this.source === source && this.modelName === modelName; // else another image was chosen meanwhile
    const ask = <T>(about: (image: string, model: string) => Promise<T>) =>
      this.remembered((image) => about(image, modelName));
    try {
      const flow = await ask(api.flow);
      if (current()) this.flow = flow;
      const diagnosis = current() ? await ask(api.diagnosis) : [];
      if (current()) this.diagnosis = diagnosis;
      const layers = current() ? await ask(api.layers) : null;
      if (current()) this.layers = layers;
    } catch (error) {
      if (current()) this.fail(error);
    }
  }

  /** For the quiz: asked only when somebody opens it. */
  async openWrongScale(): Promise<void> {
    const { source } = this;
    const found = await this.remembered((image) => api.wrongScale(image, this.modelName));
    if (this.source === source) this.wrongScale = found;
  }

  /** `of`: the image that the mask belongs to; meanwhile a person may have opened another one. */
  async openTruth(mask: Blob | string, of: Blob | null = this.source, ids = ''): Promise<void> {
    if (!this.prediction || this.source !== of) return;
    try {
      const truth = await this.remembered((image) => api.truth(image, mask, this.modelName, ids));
      if (this.source !== of) return;
      this.truth = truth;
      if (typeof mask === 'string') return; // a sample's own: nobody asked to see it yet
      [this.truthFile, this.maskQuestion] = [mask, null];
      this.display = 'compare'; // what was just asked for is seen
      this.announcement = 'Compared with the true mask.';
    } catch (error) {
      this.fail(error);
    }
  }

  /** A mask from a file: where it holds values that no class has, or `ask` says so, ask what they mean. */
  async openMask(mask: Blob, ask = false): Promise<void> {
    const { source } = this;
    try {
      const values = await this.remembered((image) => api.maskValues(image, mask, this.modelName));
      if (this.source !== source) return;
      if (ask || isUnclear(values, this.model?.classes.length ?? 0)) this.maskQuestion = { mask, values };
      else await this.openTruth(mask);
    } catch (error) {
      this.fail(error);
    }
  }

  async openSecond(name: string): Promise<void> {
    if (!this.source || !name) {
      this.second = null;
      return;
    }
    try {
      this.busy = 'Labelling with the second model';
      const of = this.source;
      const prediction = await api.predict(of, name, undefined, this.slices?.number);
      if (this.source === of)
        this.second = { name, title: this.models.find((row) => row.name === name)?.title ?? name, prediction };
    } catch (error) {
      this.fail(error);
    } finally {
      this.busy = null;
    }
  }

  /** Ask about the image; where the server has forgotten it, send it once more. */
  async remembered<T>(ask: (image: string) => Promise<T>): Promise<T> {
    const { prediction, source, modelName, slices } = this;
    if (!prediction || !source) throw new Failure('no-image', 'No image is open.', 'Open one first.');
    const send = async () => {
      const { image } = await api.predict(source, modelName, undefined, slices?.number);
      if (this.prediction && this.source === source) this.prediction = { ...this.prediction, image };
      return image;
    };
    return askAbout(prediction.image, send, ask);
  }

  toggleClass(id: number, alone = false): void {
    const all = this.model?.classes.map((_, i) => i) ?? [];
    if (alone) {
      const isAlone = this.hidden.size === all.length - 1 && !this.hidden.has(id);
      this.hidden = new Set(isAlone ? [] : all.filter((one) => one !== id));
      return;
    }
    this.hidden = new Set(this.hidden.has(id) ? [...this.hidden].filter((one) => one !== id) : [...this.hidden, id]);
  }

  fail(error: unknown): void {
    if (error instanceof DOMException && error.name === 'AbortError') return;
    if (error instanceof Failure && error.kind === 'offline') {
      void connection.back(); // only what changes something gives up: whether it was done cannot be known
      this.error = { message: 'The server did not respond.', remedy: 'See whether it was done; if not, ask again.' };
      return;
    }
    this.error =
      error instanceof Failure
        ? { message: error.message, remedy: error.remedy }
        : {
            message: 'Something went wrong on this page.',
            remedy: error instanceof Error ? error.message : String(error),
          };
  }

  /** How an address names the open image. */
  get imageName(): string {
    return this.sample ?? this.own ?? '';
  }
}

export const app = new PageState();
