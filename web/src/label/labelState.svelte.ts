// What the panels of the labelling page share: the folder, its images, and which one is open.

import { Failure, isThere, offline } from '../lib/api';
import { connection } from '../lib/connection.svelte';
import { plural } from '../lib/format';
import { session } from './canvas/session.svelte';
import { nextColour } from './classColours';
import { ImageList } from './imageList.svelte';
import * as labelApi from './labelApi';
import {
  VOID_KEY,
  type ImageOrder,
  type ImageRow,
  type ImageState,
  type LabelClass,
  type LabelFolder,
} from './labelTypes';
import { remember } from './recentFolders';

export interface Trouble {
  message: string;
  remedy: string;
  kind: string;
}

const POLL_MS = 5000; // others' locks, the assistant's work in the background

class LabelState {
  folder = $state.raw<LabelFolder | null>(null);
  current = $state.raw<ImageRow | null>(null); // the image on the canvas
  place = $state(0); // of it in the list
  seen: [number, number] = [0, 30]; // the part of the list in view
  error = $state.raw<Trouble | null>(null);
  announcement = $state(''); // for screen readers
  busy = $state<string | null>(null);
  readonly images = new ImageList((error) => this.fail(error));

  classes: LabelClass[] = $derived(this.folder?.classes ?? []);
  class: LabelClass | null = $derived(this.classes.find((row) => row.key === session.key) ?? null);

  /** The folder that the server has open, and the image that this tab had open before a reload. */
  async start(): Promise<void> {
    const folder = await this.doing('Asking the server', labelApi.folder);
    if (folder) await this.opened(folder);
  }

  /** `classes`: to begin with, where the folder has none. */
  async openFolder(request: { folder: string; out?: string }, classes: readonly string[]): Promise<void> {
    const folder = await this.doing('Opening the folder', () => labelApi.openFolder(request));
    if (!folder) return;
    remember(request.folder);
    this.current = null;
    await this.opened(folder);
    await this.addClasses(classes);
  }

  /** Photos from this computer become a folder on the server, or join the one that is open. */
  async upload(files: readonly File[], classes: readonly string[] = []): Promise<void> {
    let first = '';
    for (const [i, file] of files.entries()) {
      const what = `Sending ${plural(files.length - i, 'photo')}`;
      const sent = await this.doing(what, () => labelApi.upload(file.name, file));
      if (!sent) break;
      first ||= sent.id;
    }
    if (!first) return;
    const { error } = this; // of a file that was refused; those before it are there
    const folder = await this.doing('Opening the folder', labelApi.folder);
    if (folder) await this.opened(folder, first);
    await this.addClasses(classes);
    if (error) this.error = error;
  }

  private async addClasses(names: readonly string[]): Promise<void> {
    if (this.classes.length || this.folder?.importing) return;
    for (const name of names)
      await this.changeClasses({ op: 'add', name, colour: nextColour(this.classes.map((row) => row.colour)) });
    session.key = this.classes[0]?.key ?? VOID_KEY;
  }

  private async opened(
    folder: LabelFolder,
    wanted = new URLSearchParams(location.hash.slice(1)).get('image'),
  ): Promise<void> {
    this.folder = folder;
    if (!folder.open) return;
    this.keepClass();
    await this.images.restart();
    if (this.current || !this.images.total) return;
    if (wanted && this.images.indexOf(wanted) < 0) await this.images.show(0, this.images.total);
    const at = this.images.indexOf(wanted);
    await this.openAt(at >= 0 ? at : this.images.firstFree());
  }

  /** Open the image at that place of the list. */
  async openAt(index: number): Promise<void> {
    await this.images.show(index, index + 1);
    const row = this.images.row(index);
    if (!row) return;
    this.place = index;
    this.current = row;
    history.replaceState(null, '', `#${new URLSearchParams({ image: row.id })}`);
    this.announcement = `Image ${index + 1} of ${this.images.total}: ${row.name}`;
  }

  /** The next or previous image; nothing happens at the ends of the list. */
  async step(by: 1 | -1): Promise<void> {
    const at = this.images.indexOf(this.current?.id ?? null);
    // An image that the filter no longer holds has left its place to the one after it.
    const to = at >= 0 ? at + by : by > 0 ? this.place : this.place - 1;
    if (to >= 0 && to < this.images.total) return this.openAt(to);
    this.announcement = by > 0 ? 'This is the last image.' : 'This is the first image.';
  }

  /** The next image that is not done, from here to the end, then from the top. */
  async stepToOpen(): Promise<void> {
    const { total } = this.images;
    for (let i = 1; i <= total; i++) {
      const at = (this.place + i) % total;
      await this.images.show(at, at + 1);
      const row = this.images.row(at);
      if (row && row.state !== 'done' && row.id !== this.current?.id && !row.locked_by) return this.openAt(at);
    }
    this.announcement = 'Every image of this list is done.';
  }

  /** What the canvas or the server has just made of the image that is open. */
  mark(id: string, change: Partial<ImageRow>): void {
    this.images.change(id, change);
    if (this.current?.id === id) this.current = { ...this.current, ...change };
  }

  /** Something was drawn on the image that is open. */
  markStarted(): void {
    const { current } = this;
    if (current && (current.state === 'untouched' || current.state === 'model'))
      this.mark(current.id, { state: 'started' });
  }

  async setOrder(order: ImageOrder): Promise<void> {
    this.images.order = order;
    await this.images.restart();
  }

  async setFilter(state: ImageState | ''): Promise<void> {
    this.images.state = state;
    await this.images.restart();
  }

  async search(text: string): Promise<void> {
    this.images.search = text;
    await this.images.restart();
    this.announcement = plural(this.images.total, 'image');
  }

  async changeClasses(change: labelApi.ClassChange): Promise<{ images: number; pixels: number } | null> {
    const found = await this.doing(null, () => labelApi.changeClasses(change));
    if (!found || !this.folder) return null;
    this.folder = { ...this.folder, classes: found.classes };
    if (change.op === 'add') session.key = found.classes.at(-1)?.key ?? session.key;
    this.keepClass();
    if (found.pixels && (change.op === 'merge' || change.op === 'delete')) await session.reload();
    return found;
  }

  /** The tools paint a class that there is. */
  private keepClass(): void {
    session.classes = this.classes;
    if (!this.class) session.key = this.classes[0]?.key ?? VOID_KEY;
  }

  toggleClass(key: number): void {
    const hidden = session.hidden;
    session.hidden = hidden.includes(key) ? hidden.filter((one) => one !== key) : [...hidden, key];
  }

  async chooseAssistant(model: string): Promise<void> {
    const folder = await this.doing('Loading the model', () => labelApi.chooseAssistant(model));
    if (!folder) return;
    this.folder = folder;
    if (session.showProposal && this.current?.state !== 'done') void session.propose(); // for the image that is open, too
  }

  /** Ask what has changed on the server. */
  async refresh(): Promise<void> {
    if (!this.folder?.open || this.error?.kind === 'offline') return;
    try {
      this.folder = await labelApi.folder();
      await this.images.refresh(...this.seen, this.place);
      const at = this.images.indexOf(this.current?.id ?? null);
      const row = this.images.row(at);
      if (row) [this.current, this.place] = [row, at];
      // Whoever had it open has left it.
      if (row && !row.locked_by && session.failure?.kind === 'label-locked' && !session.image)
        await session.open(row.id);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Keep what is shown current; returns how to end that. */
  watch(): () => void {
    const timer = setInterval(() => document.visibilityState === 'visible' && void this.refresh(), POLL_MS);
    return () => clearInterval(timer);
  }

  /** Do something with the server; null where it failed, which is shown. While the server is gone, it waits. */
  async doing<T>(what: string | null, work: () => Promise<T>): Promise<T | null> {
    if (what) this.busy = what;
    try {
      if (!(await isThere())) {
        this.fail(offline());
        await connection.back();
      }
      const found = await work();
      this.error = null;
      return found;
    } catch (error) {
      this.fail(error);
      return null;
    } finally {
      if (what) this.busy = null;
    }
  }

  fail(error: unknown): void {
    if (error instanceof DOMException && error.name === 'AbortError') return;
    this.error =
      error instanceof Failure
        ? { kind: error.kind, message: error.message, remedy: error.remedy }
        : {
            kind: 'page',
            message: 'Something went wrong on this page.',
            remedy: error instanceof Error ? error.message : String(error),
          };
    if (this.error.kind === 'offline') void this.waitForServer();
  }

  private waiting = false;

  private async waitForServer(): Promise<void> {
    if (this.waiting) return;
    this.waiting = true;
    await connection.back();
    this.waiting = false;
    this.error = null;
    this.announcement = 'The server is back.';
    await this.start();
  }
}

export const label = new LabelState();
