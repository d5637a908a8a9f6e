// The image that is being labelled: its mask, what is proposed, the tools' settings, and the way to the server.

import { asFailure, Failure } from '../../lib/api';
import * as api from '../labelApi';
import {
  VOID_KEY,
  type Box,
  type Edit,
  type EditSource,
  type LabelClass,
  type MorphOperation,
  type OpenedImage,
  type Patch,
  type Progress,
  type Proposal,
  type Tool,
} from '../labelTypes';
import { acceptance, proposedAt, type Accepted } from './acceptProposal';
import { ActiveTime } from './activeTime';
import { EditQueue, type Saving } from './editQueue';
import { forgetEdit, keepEdit, keptEdits } from './keptEdits';
import { ImageView } from './imageView.svelte';
import { applyPatch, ASSISTANT, MaskEdit, NOBODY, PERSON, type LabelMask } from './maskEdit';

const HEARTBEAT_MS = 10_000;
const LOCKED = 'label-locked'; // by another tab or person
const LOCKED_RETRY_MS = 5000;
const PROPOSE_AFTER_MS = 150;
const REPLACED = 'propose-replaced'; // by a newer request
const WHOLE_PX = 2_000_000; // the assistant looks at all of an image up to this size, else at what is in sight

export class LabelSession extends ImageView {
  // set by the page
  classes = $state.raw<LabelClass[]>([]);
  folder = $state(''); // the labelling folder: edits that are kept belong to it
  key = $state(VOID_KEY); // of the class that tools paint
  tool = $state<Tool>('brush');
  size = $state(16); // of the brush, in pixels of the image
  pressure = $state(true); // a pen's pressure makes the brush smaller
  tolerance = $state(24); // of the flood fill, 0–255 in each of red, green and blue
  superpixelSize = $state(24); // pixels, about the side of one
  snap = $state(false); // polygons follow edges of the image
  readOnly = $state(false); // the folder cannot be written to

  // read by the page
  loading = $state(false);
  failure = $state.raw<Failure | null>(null); // of opening the image, or of the last request
  version = $state(0);
  undoCount = $state(0);
  redoCount = $state(0);
  saving = $state<Saving>('saved');
  unsavedReason = $state('');
  savedEdits = $state(0); // grows with each edit that the server has
  revision = $state(0); // grows with each change of the mask
  proposal = $state.raw<Proposal | null>(null);
  proposing = $state(false);
  message = $state(''); // what just happened, for a live region

  mask: LabelMask = { width: 0, height: 0, keys: new Uint8Array(), drawn: new Uint8Array() }; // not reactive: see revision
  client = ''; // this tab, as holder of locks
  onchange: (box: Box | null) => void = () => undefined; // the canvas draws this part again; null: all of it
  private queue: EditQueue | null = null;
  private edit: MaskEdit | null = null; // in the making
  private clock = new ActiveTime();
  private heartbeat: ReturnType<typeof setInterval> | undefined;
  private proposeSoon: ReturnType<typeof setTimeout> | undefined;
  private asking: AbortController | null = null;
  private opening = 0;
  asked = ''; // the image that is open or being opened
  private left = false; // the tab is closed, or waits to be shown again
  unkept = $state(0); // edits that would go with the tab
  readonly canUndo = $derived(this.undoCount > 0);
  readonly canRedo = $derived(this.redoCount > 0);
  readonly locked: readonly number[] = $derived(this.classes.filter((row) => row.locked).map((row) => row.key));
  className(key: number): string {
    if (key === VOID_KEY) return 'not labelled';
    return this.classes.find((row) => row.key === key)?.name ?? `class ${key}`;
  }
  get underCursor(): number {
    const at = this.cursorPixel;
    return at && this.revision >= 0 ? this.mask.keys[at.y * this.mask.width + at.x]! : VOID_KEY;
  }
  // ── opening and closing ──

  /** Opens an image, after closing the one before. Failures are in `failure`. */
  async open(id: string): Promise<void> {
    if (this.left) return; // what a closed tab begins, nobody would end
    const mine = ++this.opening;
    this.failure = null;
    try {
      await this.close();
      if (mine !== this.opening) return;
      this.loading = true;
      this.client ||= await api.clientId();
      if (mine !== this.opening) return;
      this.asked = id;
      const image = await api.openImage(id, this.client);
      const { keys, drawn } = await api.mask(id);
      if (mine !== this.opening) {
        if (this.client) void api.closeImage(id, this.client);
        return;
      }
      this.mask = { width: image.width, height: image.height, keys, drawn };
      this.image = image;
      this.progress(image);
      this.queue = this.newQueue(image);
      this.clock = new ActiveTime();
      for (const edit of await keptEdits(this.folder, id)) this.send(edit); // of a tab that was killed
      this.heartbeat = setInterval(() => void this.beat(id), HEARTBEAT_MS);
      this.fit();
      this.revised(null);
      this.say(`${image.name}, ${image.width} by ${image.height} pixels`);
      if (image.state === 'model') void this.propose();
    } catch (error) {
      if (mine !== this.opening) return;
      this.failure = asFailure(error);
      if (this.failure.kind === LOCKED) setTimeout(() => mine === this.opening && void this.open(id), LOCKED_RETRY_MS);
    } finally {
      if (mine === this.opening) this.loading = false;
    }
  }

  /** Waits for edits on their way, as long as the server takes them, and gives the image back. */
  async close(): Promise<void> {
    const { image, queue } = this;
    if (!image) return;
    if (this.saving !== 'unsaved') await queue?.settled();
    const what = `${image.name} is not saved: ${this.unsavedReason}`;
    if (this.unkept && queue?.length)
      throw new Failure('label-unsaved', what, 'Wait until it is, then open the next image.');
    this.drop();
    await api.closeImage(image.id, this.client);
  }

  private drop(): void {
    this.cancelEdit();
    this.clearProposal();
    clearInterval(this.heartbeat);
    this.queue?.stop();
    this.saving = 'saved'; // what is left is kept in the browser, and sent when the image is opened again
    this.queue = this.image = this.cursor = null;
  }

  /** The tab is closed or reloaded: others may open the image at once. What was not sent is kept in the browser. */
  leave(): void {
    this.left = true;
    this.opening++;
    this.drop();
    if (this.asked) void api.closeImage(this.asked, this.client, true);
    api.forgetClient();
    this.client = '';
  }

  /** The tab is shown again as it was left. */
  async comeBack(id: string): Promise<void> {
    this.left = false;
    if (id) await this.open(id);
  }

  /** The mask as the server has it. */
  async reload(): Promise<void> {
    const { image } = this;
    if (!image) return;
    const [opened, { keys, drawn }] = [await api.openImage(image.id, this.client), await api.mask(image.id)];
    if (this.image !== image) return;
    this.cancelEdit();
    Object.assign(this.mask, { keys, drawn });
    this.queue?.pending.forEach((edit) => applyPatch(this.mask, edit));
    this.progress(opened);
    this.revised(null);
  }

  async setState(state: 'done' | 'started'): Promise<void> {
    const { image } = this;
    if (!image) return;
    await this.queue?.settled();
    const answer = await api.setImageState(image.id, this.client, state);
    if (this.image?.id === image.id) this.image = { ...this.image, state: answer.state };
  }

  // ── edits ──

  /** Somebody works: time counts. */
  touch(): void {
    this.clock.touch(performance.now());
  }

  /** An edit in the making; the one before is finished by `finish` or `cancelEdit`. */
  begin(by = PERSON): MaskEdit {
    this.cancelEdit();
    this.edit = new MaskEdit(this.mask, this.locked, by);
    return this.edit;
  }

  /** What the edit has painted since is drawn. */
  show(): void {
    const fresh = this.edit?.takeFresh();
    if (fresh) this.revised(fresh);
  }

  /** The edit in the making is complete: it is shown, sent and said. False where it changed nothing. */
  finish(tool: string, key: number, source: EditSource = 'person', note = ''): boolean {
    const { edit } = this;
    this.show();
    this.edit = null;
    const patch = edit?.patch();
    const what = source === 'person' ? this.className(key) : 'accepted';
    this.say(
      (patch ? `${edit!.pixels} pixels: ${what}` : 'Nothing was changed') +
        (edit?.spared ? `; ${edit.spared} of locked classes stay as they are` : '') +
        note,
    );
    if (!patch) return false;
    const seconds = this.clock.take(performance.now());
    this.send({ ...patch, edit_id: api.randomId(), tool, key, seconds, source });
    this.undoCount++;
    this.redoCount = 0;
    if (source === 'person') this.answer(tool);
    return true;
  }

  cancelEdit(): void {
    const box = this.edit?.cancel();
    this.edit = null;
    if (box) this.revised(box);
  }

  undo(): void {
    if (!this.canUndo) return this.say('Nothing to undo');
    this.undoCount--;
    this.redoCount++;
    this.request('Undone', (id) => api.undo(id, this.client));
  }

  redo(): void {
    if (!this.canRedo) return this.say('Nothing to redo');
    this.undoCount++;
    this.redoCount--;
    this.request('Redone', (id) => api.redo(id, this.client));
  }

  /** Fill holes, grow, shrink, smooth, or remove specks of a class, in all of the image or a part. */
  morph(operation: MorphOperation, amount: number, key = this.key, window?: Box): void {
    if (this.refuses(key)) return;
    const request = { operation, key, amount, ...(window ? { window } : {}) };
    this.request(`${operation.replace('-', ' ')}: done`, (id) => api.morph(id, this.client, request));
  }

  copyFrom(other: string): void {
    this.request('Copied', (id) => api.copyFrom(id, this.client, other));
  }

  /** Says so, and returns true, where a class cannot be painted. */
  refuses(key: number): boolean {
    if (this.readOnly) this.say('The labelling folder is read-only');
    else if (this.locked.includes(key)) this.say(`${this.className(key)} is locked`);
    else return false;
    return true;
  }

  retrySaving(): void {
    this.queue?.retry();
  }

  // ── the assistant ──

  /** The assistant answers strokes that are meant for it, and all that follow as long as its proposal is shown: when
   *  no stroke has followed for a moment. */
  private answer(tool: string): void {
    if (!this.showProposal || (tool !== 'scribble' && !this.proposal)) return;
    clearTimeout(this.proposeSoon);
    this.proposeSoon = setTimeout(() => void this.propose(), PROPOSE_AFTER_MS);
  }

  async propose(window: Box | null = null): Promise<void> {
    const { image } = this;
    if (!image) return;
    const whole = { x: 0, y: 0, w: image.width, h: image.height };
    const part = window ?? (image.width * image.height > WHOLE_PX && this.visible ? this.visible : whole);
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.proposing = true;
    try {
      await this.queue?.settled(); // it uses the strokes that the server has
      if (asking.signal.aborted) return;
      const proposal = await api.propose(image.id, this.client, part, asking.signal);
      if (asking.signal.aborted || this.image?.id !== image.id) return;
      this.proposal = proposal;
      this.revised(null);
      this.say(`Proposal in ${Math.round(proposal.ms)} milliseconds`);
    } catch (error) {
      if (!asking.signal.aborted && asFailure(error).kind !== REPLACED) this.fails(error);
    } finally {
      if (this.asking === asking) this.proposing = false;
    }
  }

  clearProposal(): void {
    clearTimeout(this.proposeSoon);
    this.asking?.abort();
    this.proposing = false;
    if (this.proposal) this.revised(null);
    this.proposal = null;
  }

  /** Proposed labels become labels: all, those of a class, or a region at a pixel. */
  accept(what: Accepted): void {
    const { proposal } = this;
    if (!proposal) return this.say('Nothing is proposed');
    const inside = acceptance(proposal, what, this.mask);
    const edit = this.begin(ASSISTANT);
    if (inside) edit.region(proposal.window, inside, proposal.labels);
    const key = what === 'all' ? VOID_KEY : 'key' in what ? what.key : proposedAt(proposal, what);
    this.finish('accept', key, proposal.source);
  }

  say(message: string): void {
    this.message = message;
  }

  fails(error: unknown): void {
    this.failure = asFailure(error); // the page shows it
    this.say(this.failure.message);
  }

  private send(edit: Edit): void {
    if (edit.source !== 'person') edit.drawn = edit.values.map((value) => (value === VOID_KEY ? NOBODY : ASSISTANT));
    applyPatch(this.mask, edit);
    this.revised(edit);
    this.queue?.push(edit);
  }

  private request(done: string, ask: (id: string) => Promise<Patch & Progress>): void {
    const { image } = this;
    if (!image) return;
    this.queue?.push(async () => {
      const patch = await ask(image.id);
      this.say(done);
      return patch;
    });
  }

  private newQueue(image: OpenedImage): EditQueue {
    return new EditQueue({
      send: (edit) => api.sendEdit(image.id, edit, this.client),
      keep: async (edit) => {
        if (!(await keepEdit(this.folder, image.id, edit))) this.unkept++;
      },
      forget: forgetEdit,
      progress: (progress) => {
        this.progress(progress);
        this.savedEdits++;
      },
      patched: (patch) => this.patched(patch),
      state: (saving, reason) => {
        this.saving = saving;
        this.unsavedReason = reason;
        if (saving === 'saved') this.unkept = 0;
      },
      refused: (failure) => {
        this.fails(failure);
        void this.reload().catch((error: unknown) => this.fails(error));
      },
    });
  }

  /** A change that the server made. What is on its way, and the edit in the making, stay on top. */
  private patched(patch: Patch & Progress): void {
    this.edit?.rebase(patch);
    applyPatch(this.mask, patch);
    this.queue?.pending.forEach((edit) => applyPatch(this.mask, edit));
    this.progress(patch);
    this.savedEdits++;
    this.revised(patch);
    this.answer('');
  }

  private progress({ version, undo, redo }: Progress): void {
    this.version = version;
    if (this.queue && this.queue.length > 0) return; // the counts are ahead of the server
    this.undoCount = undo;
    this.redoCount = redo;
  }

  private revised(box: Box | null): void {
    this.revision++;
    this.onchange(box);
  }

  async beat(id: string): Promise<void> {
    try {
      await api.openImage(id, this.client);
      this.queue?.retry();
    } catch (error) {
      if (asFailure(error).kind === LOCKED && this.image?.id === id) this.fails(error);
    }
  }
}

export const session = new LabelSession();
