// The steps of a visit, as the browser's Back and Forward, a reload and a link know them: the address opens what it names.

import { isStep, parseAddress, writtenAddress, type Address } from './address';
import * as api from './api';
import { Failure } from './api';
import { isOwn, keptImage } from './ownImages';
import { isLearn, room } from './rooms.svelte';
import { app, DISPLAYS, TABS, type Tab } from './state.svelte';

class Steps {
  private wanted = parseAddress('');
  private known = ''; // the address as it was last read or written
  private followed: Address | null = null; // the step that is being opened; only the newest ends the waiting
  private written = false;
  first: File | null = null; // an image that was dropped in another room: it is opened in place of the address's

  async start(): Promise<void> {
    this.read();
    const { turn } = app;
    const { wanted } = this;
    try {
      await Promise.all([api.models().then((rows) => (app.models = rows)), this.openWantedModel()]);
      app.layer = app.model?.stages.some((stage) => stage.name === wanted.layer) ? wanted.layer : null;
      if (wanted.hidden.length) app.hidden = new Set(wanted.hidden);
      if (this.first) await this.openDropped();
      else if (turn === app.turn) await this.openNamed(wanted.image); // else a person was quicker with an image
    } catch (error) {
      app.fail(error);
    }
  }

  /** Open the image that was dropped or pasted in another room. */
  private async openDropped(): Promise<void> {
    const file = this.first;
    this.first = null;
    if (file) await app.openImage(file);
  }

  /** The model of the address; where there is none of that name any more, the served one, and that is said. */
  private async openWantedModel(): Promise<void> {
    const name = this.wanted.model || 'main';
    try {
      await app.openModel(name);
    } catch (error) {
      if (name === 'main' || !(error instanceof Failure)) throw error;
      await app.openModel('main');
      app.notice = {
        message: `The model “${name}” of this address cannot be opened here: ${error.message}`,
        remedy: `“${app.model?.title}” is shown instead.`,
      };
    }
  }

  /** Open the image that an address names: a sample, or one of one's own that this browser has kept. */
  private async openNamed(name: string): Promise<void> {
    const sample = app.samples.find((one) => one.name === name);
    if (sample) return app.openSample(sample.name);
    const kept = isOwn(name) ? await keptImage(name) : null;
    if (kept) return app.openImage(kept.blob, null, kept, this.wanted.slice - 1);
    if (name) {
      app.cursor = null; // it was a pixel of another image
      app.pinned = false;
      app.notice = {
        message: isOwn(name) ? 'This browser no longer has your image.' : `There is no sample “${name}” here.`,
        remedy: isOwn(name) ? 'Open it again: choose, drop or paste it.' : 'The first sample is shown instead.',
      };
    }
    if (app.samples[0]) await app.openSample(app.samples[0].name);
  }

  read(): void {
    this.known = location.hash;
    const asked = (this.wanted = parseAddress(location.hash));
    app.wantedModel = asked.model;
    const tab = asked.tab || localStorage.getItem('pixelwise-tab');
    if (TABS.includes(tab as Tab)) app.tab = tab as Tab;
    app.part = asked.part || 1;
    app.display = DISPLAYS.find((display) => display === asked.view) ?? 'mask';
    app.layer = asked.layer || null;
    if (asked.pixel) app.cursor = asked.pixel;
    app.pinned = asked.pinned;
    app.epoch = asked.epoch;
  }

  /** Back, Forward, a link, or the address changed by hand. */
  async follow(): Promise<void> {
    if (!isLearn(location.hash)) return; // another room's
    if (this.first) return this.openDropped();
    if (location.hash === this.known) return;
    const { imageName, modelName } = app;
    const earlier = this.followed; // what it opens may still be on its way: what is wanted now is opened after it
    this.read();
    const { wanted } = this;
    this.followed = wanted;
    try {
      if ((wanted.model || 'main') !== modelName || (earlier && earlier.model !== wanted.model))
        await app.chooseModel(wanted.model || 'main');
      if (wanted !== this.wanted) return; // another step was made meanwhile
      if (wanted.image && (earlier || wanted.image !== imageName)) await this.openNamed(wanted.image);
      else if (wanted.slice) await app.showSlice(wanted.slice - 1);
      if (wanted !== this.wanted) return;
      app.hidden = new Set(wanted.hidden);
      if (wanted.pixel) app.cursor = app.inside(wanted.pixel.x, wanted.pixel.y);
      app.pinned = wanted.pinned;
    } catch (error) {
      app.fail(error);
    } finally {
      if (this.followed === wanted) this.followed = null;
    }
  }

  /** A new tab, model or image is a step that Back undoes; all else only changes the step. */
  write(): void {
    if (this.followed || location.hash !== this.known) return; // somebody has just changed it: it is read first
    const chosen: Address = {
      tab: app.tab,
      part: app.tab === 'pipeline' ? app.part : 0,
      model: app.modelName === 'main' ? '' : app.modelName,
      image: app.imageName,
      slice: app.slices ? app.slices.number + 1 : 0,
      view: app.display === 'mask' ? '' : app.display,
      pixel: app.cursor,
      pinned: app.pinned,
      layer: app.layer ?? '',
      epoch: app.epoch,
      hidden: [...app.hidden],
    };
    const hash = writtenAddress(chosen);
    const step = this.written && isStep(parseAddress(this.known), chosen);
    if (hash !== this.known) history[step ? 'pushState' : 'replaceState'](null, '', hash);
    this.written = true;
    this.known = location.hash;
    room.remember();
    localStorage.setItem('pixelwise-tab', app.tab);
  }
}

export const steps = new Steps();
