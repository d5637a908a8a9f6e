// Photos that a person opened, one after another or many at once: what a model says about each, kept in this browser.

import * as api from '../../lib/api';
import { asFailure } from '../../lib/api';
import { stemOf } from '../../lib/format';
import { forgetImage, keepImage, keptImages, newKey, type OwnImage, type PhotoFacts } from '../../lib/ownImages';
import { paintMask, PLAIN } from '../../lib/paint';
import { save } from '../../lib/saving';
import { uncertainty } from '../../lib/scores';
import { askAbout } from '../../lib/sentImage';
import { app } from '../../lib/state.svelte';
import type { Prediction } from '../../lib/types';
import { maskOf, sharesTable } from './photoNames';

const PICTURE_PX = 240;
const STRENGTH = 0.55; // of the mask's colours over the photo

class OpenedPhotos {
  all = $state.raw<OwnImage[]>([]);
  failures = $state.raw<Record<string, string>>({}); // by key
  waiting = $state(0); // photos that are still to be labelled
  private images: Record<string, string> = {}; // key and model → the name by which the server remembers it
  private labelling: Promise<void> = Promise.resolve();

  async load(): Promise<void> {
    const found = await keptImages();
    const here = new Set(found.map((one) => one.key));
    this.all = [...this.all.filter((one) => !here.has(one.key)), ...found]; // those that the browser does not keep stay, too
  }

  /** Open files: a mask beside its photo (“a_mask.png” of “a.jpg”) is the truth that it is compared with. */
  async add(files: readonly File[], model: string): Promise<void> {
    const names = files.map((file) => file.name);
    const photos = files.filter((file) => !maskOf(file.name, names));
    for (const [i, file] of photos.entries()) {
      const image: OwnImage = { key: newKey() + i.toString(36), blob: file, name: file.name, time: Date.now() + i };
      this.put(image);
      void keepImage(image);
      const mask = files.find((other) => maskOf(other.name, names) === file.name);
      void this.label(image.key, model).then(() => mask && this.compare(image.key, mask, model));
    }
    await this.labelling;
  }

  /** Label every photo that this model has not labelled. */
  labelAll(model: string): void {
    for (const one of this.all)
      if (one.facts?.model !== model && !this.failures[one.key]) void this.label(one.key, model);
  }

  /** One after the other: the server's queue is for everybody. */
  label(key: string, model: string): Promise<void> {
    this.waiting++;
    this.labelling = this.labelling.then(async () => {
      try {
        const image = this.all.find((one) => one.key === key);
        if (image) await this.take(image, model);
      } catch (error) {
        this.fail(key, error);
      } finally {
        this.waiting--;
      }
    });
    return this.labelling;
  }

  /** Compare a photo's labels with a true mask from a file. */
  async compare(key: string, mask: Blob, model: string): Promise<void> {
    try {
      const image = this.all.find((one) => one.key === key);
      if (!image?.facts) return;
      const truth = await this.remembered(image, model, (name) => api.truth(name, mask, model));
      this.change(image, { ...image.facts, miou: truth.scores.miou });
    } catch (error) {
      app.fail(error);
    }
  }

  async download(image: OwnImage, model: string, kind: 'png' | 'json'): Promise<void> {
    try {
      const file = await this.remembered(image, model, (name) => api.download(api.labelsLink(name, model, kind)));
      save(file, `${stemOf(image.name || 'pasted image')}-${kind === 'png' ? 'mask.png' : 'labels.json'}`);
    } catch (error) {
      app.fail(error);
    }
  }

  downloadTable(): void {
    save(new Blob([sharesTable(this.all)], { type: 'text/csv' }), 'opened-photos.csv');
  }

  async forget(key: string): Promise<void> {
    this.all = this.all.filter((one) => one.key !== key);
    await forgetImage(key);
  }

  private async take(image: OwnImage, model: string): Promise<void> {
    const prediction = await api.predict(image.blob, model);
    this.images[`${image.key} ${model}`] = prediction.image;
    const shares = prediction.classes
      .filter((row) => row.share > 0)
      .sort((p, q) => q.share - p.share)
      .map(({ name, colour, share }) => ({ name, colour, share }));
    const { confidence } = uncertainty(prediction);
    this.change(image, {
      model,
      width: prediction.width,
      height: prediction.height,
      shares,
      confidence: confidence.reduce((sum, one) => sum + one, 0) / Math.max(confidence.length, 1),
      miou: image.facts?.model === model ? image.facts.miou : null,
      picture: await pictureOf(image.blob, prediction, model),
    });
  }

  /** Ask about a photo; where the server has forgotten it, send it once more. */
  private async remembered<T>(image: OwnImage, model: string, ask: (name: string) => Promise<T>): Promise<T> {
    const key = `${image.key} ${model}`;
    const send = async () => (this.images[key] = (await api.predict(image.blob, model)).image);
    return askAbout(this.images[key] ?? null, send, ask);
  }

  private change(image: OwnImage, facts: PhotoFacts): void {
    const changed = { ...image, facts };
    this.put(changed);
    void keepImage(changed);
  }

  private put(image: OwnImage): void {
    const there = this.all.some((one) => one.key === image.key);
    this.all = there ? this.all.map((one) => (one.key === image.key ? image : one)) : [image, ...this.all];
  }

  private fail(key: string, error: unknown): void {
    const failure = asFailure(error);
    this.failures = { ...this.failures, [key]: `${failure.message} ${failure.remedy}`.trim() };
  }
}

/** A small picture of a photo under its mask. */
async function pictureOf(blob: Blob, prediction: Prediction, model: string): Promise<Blob> {
  const bitmap = await createImageBitmap(blob).catch(async () =>
    createImageBitmap(
      await askAbout(
        prediction.image,
        async () => (await api.predict(blob, model)).image,
        (name) => api.picture(name, model),
      ),
    ),
  );
  const scale = Math.min(PICTURE_PX / Math.max(prediction.width, prediction.height), 1);
  const canvas = new OffscreenCanvas(
    Math.max(Math.round(prediction.width * scale), 1),
    Math.max(Math.round(prediction.height * scale), 1),
  );
  const mask = document.createElement('canvas');
  paintMask(mask, prediction, PLAIN);
  const context = canvas.getContext('2d')!;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = STRENGTH;
  context.drawImage(mask, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.convertToBlob({ type: 'image/webp', quality: 0.8 });
}

export const photos = new OpenedPhotos();
