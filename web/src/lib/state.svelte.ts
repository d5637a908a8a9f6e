// The state that all parts share: the model, the image, the pixel cursor, hidden classes, the selected epoch.
// The address holds what a person chose, not what is computed.

import * as api from './api';
import { Failure } from './api';
import { firstView, type BandView } from './falseColour';
import { uncertainty, type Uncertainty } from './scores';
import type { Finding, FlowStage, Layer, Prediction, ModelFacts, ModelRow, Sample, Truth, WrongScale } from './types';
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
  retries?: boolean; // when the server is back
}

class PageState {
  models = $state.raw<ModelRow[]>([]);
  model = $state.raw<ModelFacts | null>(null);
  view = $state.raw<BandView | null>(null); // the bands shown; null for models of red, green and blue
  samples = $state.raw<Sample[]>([]);
  sample = $state<string | null>(null);
  source = $state.raw<Blob | null>(null); // the image's own bytes
  bitmap = $state.raw<ImageBitmap | null>(null);
  prediction = $state.raw<Prediction | null>(null);
  truth = $state.raw<Truth | null>(null);
  second = $state.raw<{ title: string; name: string; prediction: Prediction } | null>(null);
  flow = $state.raw<FlowStage[] | null>(null);
  layers = $state.raw<Layer[] | null>(null);
  diagnosis = $state.raw<Finding[]>([]);
  wrongScale = $state.raw<WrongScale | null>(null); // the network’s labels when the image is not divided by 255

  cursor = $state<{ x: number; y: number } | null>(null);
  hidden = $state.raw<ReadonlySet<number>>(new Set());
  display = $state<Display>('mask');
  opacity = $state(0.6);
  boundaries = $state(false);
  hatching = $state(true);
  names = $state(true); // of classes, written on the mask
  tab = $state<Tab>('overview');
  layer = $state<string | null>(null);
  epoch = $state<number | null>(null);
  theme = $state<Theme>('system');
  overlay = $state.raw<{ drops: number[][]; rows: number; highest: number } | null>(null); // influence, drawn over the image

  busy = $state<string | null>(null);
  error = $state.raw<PageError | null>(null);
  announcement = $state(''); // for screen readers

  uncertainty: Uncertainty | null = $derived(this.prediction ? uncertainty(this.prediction) : null);
  private abort: AbortController | null = null;
  private turn = 0;

  async start(): Promise<void> {
    this.readAddress();
    const { layer, turn } = this;
    try {
      const [rows] = await Promise.all([api.models(), this.openModel(this.wantedModel)]);
      this.models = rows;
      this.layer = this.model?.stages.some((stage) => stage.name === layer) ? layer : null;
      if (this.wantedHidden.size) this.hidden = this.wantedHidden;
      const wanted = this.samples.find((one) => one.name === this.wantedSample) ?? this.samples[0];
      if (wanted && turn === this.turn) await this.openSample(wanted.name); // else a person was quicker with an image
    } catch (error) {
      this.fail(error);
    }
  }

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
      const { source, sample } = this;
      const bands = this.model?.bands;
      const same = before?.names.join() === bands?.names.join() && before?.dtype === bands?.dtype;
      if (sample && this.samples.some((one) => one.name === sample)) await this.openSample(sample);
      else if (source && same) await this.openImage(source);
      else if (source && this.samples[0]) await this.openSample(this.samples[0].name); // it takes other images
    } catch (error) {
      this.fail(error);
    } finally {
      this.busy = null;
    }
  }

  get modelName(): string {
    return this.model?.name ?? this.wantedModel;
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

  /** Label an image: the one way in for drops, pastes, files, photographs and samples. */
  async openImage(blob: Blob, sample: string | null = null): Promise<void> {
    if (!sample) this.turn++;
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    this.busy = 'Labelling every pixel';
    this.error = null;
    try {
      const [prediction, shown] = await Promise.all([
        api.predict(blob, this.modelName, abort.signal),
        this.view ? null : createImageBitmap(blob).catch(() => null), // TIFF, for example
      ]);
      const bitmap = shown ?? (await createImageBitmap(await api.picture(prediction.image, this.modelName, this.view)));
      if (abort.signal.aborted) return;
      const before = this.prediction; // the cursor of an image of another size says nothing about this one
      if (before && (prediction.width !== before.width || prediction.height !== before.height)) {
        zoom.reset();
        this.cursor = null;
      }
      this.source = blob;
      this.sample = sample;
      this.prediction = prediction;
      this.bitmap = bitmap;
      this.truth = null;
      this.second = null;
      this.flow = null;
      this.layers = null;
      this.diagnosis = [];
      this.wrongScale = null;
      this.overlay = null;
      if (this.display === 'compare') this.display = 'mask';
      const kept = this.cursor && this.cursor.x < prediction.width && this.cursor.y < prediction.height;
      if (!kept) this.cursor = { x: prediction.width >> 1, y: prediction.height >> 1 };
      const top = [...prediction.classes].sort((p, q) => q.share - p.share).slice(0, 3);
      this.announcement = `Labelled. ${top.map((row) => `${row.name} ${Math.round(row.share * 100)} %`).join(', ')}.`;
      void this.openInside();
    } catch (error) {
      if (!abort.signal.aborted) this.fail(error);
    } finally {
      if (this.abort === abort) this.busy = null;
    }
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
  async openTruth(mask: Blob | string, of: Blob | null = this.source): Promise<void> {
    if (!this.prediction || this.source !== of) return;
    try {
      const truth = await this.remembered((image) => api.truth(image, mask, this.modelName));
      if (this.source === of) this.truth = truth;
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
      const prediction = await api.predict(of, name);
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
    if (!this.prediction || !this.source) throw new Failure('no-image', 'No image is open.', 'Open one first.');
    try {
      return await ask(this.prediction.image);
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== 'image-unknown') throw error;
      const again = await api.predict(this.source, this.modelName);
      this.prediction = { ...this.prediction, image: again.image };
      return ask(again.image);
    }
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

  moveCursor(x: number, y: number): void {
    if (!this.prediction) return;
    this.cursor = {
      x: Math.min(Math.max(Math.round(x), 0), this.prediction.width - 1),
      y: Math.min(Math.max(Math.round(y), 0), this.prediction.height - 1),
    };
  }

  fail(error: unknown): void {
    if (error instanceof DOMException && error.name === 'AbortError') return;
    this.error =
      error instanceof Failure
        ? { message: error.message, remedy: error.remedy, retries: error.kind === 'offline' }
        : {
            message: 'Something went wrong on this page.',
            remedy: error instanceof Error ? error.message : String(error),
          };
    if (this.error.retries) this.waitForServer();
  }

  private waiting: ReturnType<typeof setTimeout> | undefined;

  /** Ask now and then until the server answers again; nothing on the page is lost meanwhile. */
  private waitForServer(): void {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(async () => {
      if (!this.error?.retries) return;
      if (!(await api.isThere())) return this.waitForServer();
      this.error = null;
      this.announcement = 'The server is back.';
      if (!this.model) return this.start();
      if (this.prediction) this.prediction = { ...this.prediction }; // whatever waits for something about it asks again
      if (this.prediction && !this.layers) await this.openInside();
    }, 1000);
  }

  // ── the address ──

  private wantedModel = 'main';
  private wantedSample: string | null = null;

  readAddress(): void {
    this.known = location.hash;
    const asked = new URLSearchParams(location.hash.slice(1));
    const remembered = localStorage.getItem('pixelwise-tab');
    const tab = asked.get('tab') ?? remembered;
    if (TABS.includes(tab as Tab)) this.tab = tab as Tab;
    if (DISPLAYS.includes(asked.get('view') as Display)) this.display = asked.get('view') as Display;
    this.layer = asked.get('layer');
    const [x, y] = (asked.get('pixel') ?? '').split(',').map(Number);
    if (Number.isInteger(x) && Number.isInteger(y)) this.cursor = { x: x!, y: y! };
    const epoch = Number(asked.get('epoch'));
    if (epoch > 0) this.epoch = epoch;
    const hidden = (asked.get('hidden') ?? '').split(',').filter(Boolean).map(Number);
    this.wantedHidden = new Set(hidden);
    this.wantedModel = asked.get('model') ?? 'main';
    this.wantedSample = asked.get('image');
    const theme = localStorage.getItem('pixelwise-theme');
    if (theme === 'light' || theme === 'dark') this.theme = theme;
  }

  private wantedHidden: Set<number> = new Set();
  private known = ''; // the address as it was last read or written

  /** The address was changed by hand or by a link. */
  async followAddress(): Promise<void> {
    const { sample, modelName } = this;
    this.readAddress();
    try {
      if (this.wantedModel !== modelName) await this.chooseModel(this.wantedModel);
      if (this.wantedSample && this.wantedSample !== sample) await this.openSample(this.wantedSample);
      this.hidden = this.wantedHidden;
      if (this.cursor) this.moveCursor(this.cursor.x, this.cursor.y);
    } catch (error) {
      this.fail(error);
    }
  }

  writeAddress(): void {
    if (location.hash !== this.known) return; // somebody has just changed it: it is read first
    const chosen = {
      tab: this.tab,
      model: this.modelName === 'main' ? '' : this.modelName,
      image: this.sample ?? '',
      view: this.display === 'mask' ? '' : this.display,
      pixel: this.cursor ? `${this.cursor.x},${this.cursor.y}` : '',
      layer: this.layer ?? '',
      epoch: this.epoch ? String(this.epoch) : '',
      hidden: [...this.hidden].join(','),
    };
    const written = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
    history.replaceState(null, '', `#${written.toString().replaceAll('%2C', ',')}`);
    this.known = location.hash;
    localStorage.setItem('pixelwise-tab', this.tab);
  }
}

export const app = new PageState();
