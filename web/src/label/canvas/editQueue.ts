// Edits on their way to the server, one after the other. An edit is repeated under its own edit_id until the server
// has it, so that none is lost or made twice.

import { asFailure, type Failure } from '../../lib/api';
import type { Edit, Patch, Progress } from '../labelTypes';

export type Saving = 'saved' | 'saving' | 'unsaved';

/** Something that the server changes: an undo, say. Not repeated, as it may have happened. */
type Request = () => Promise<Patch & Progress>;

interface Hooks {
  send(edit: Edit): Promise<Progress>;
  keep(edit: Edit): Promise<void>; // also if the tab is killed now
  forget(editId: string): Promise<void>;
  progress(progress: Progress): void;
  patched(patch: Patch & Progress): void;
  state(saving: Saving, failure: string): void;
  refused(failure: Failure): void; // the edit, or the request, is not in the server's mask
}

const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 5000;
const LOCKED = 409; // somebody else has the image: until that ends

/** May the same edit be taken later? */
const isPassing = ({ status }: Failure) => status === 0 || status === LOCKED || status === 429 || status >= 500;

export class EditQueue {
  private waiting: (Edit | Request)[] = [];
  private running = false;
  private stopped = false;
  private wake: (() => void) | null = null;
  private idle: (() => void)[] = [];

  constructor(private readonly hooks: Hooks) {}

  /** Edits that the server may not have, oldest first. */
  get pending(): Edit[] {
    return this.waiting.filter((one): one is Edit => typeof one !== 'function');
  }

  get length(): number {
    return this.waiting.length;
  }

  push(what: Edit | Request): void {
    this.waiting.push(what);
    if (typeof what !== 'function') void this.hooks.keep(what);
    if (!this.running) void this.run();
  }

  /** Try again now rather than after the wait. */
  retry(): void {
    this.wake?.();
  }

  /** Resolves when nothing is on its way, or the server does not take it. */
  settled(): Promise<void> {
    return this.waiting.length ? new Promise((done) => this.idle.push(done)) : Promise.resolve();
  }

  /** Another image is opened. Edits that were not sent stay kept. */
  stop(): void {
    this.stopped = true;
    this.wake?.();
  }

  private async run(): Promise<void> {
    this.running = true;
    this.hooks.state('saving', '');
    let wait = FIRST_WAIT_MS;
    while (this.waiting.length && !this.stopped) {
      const failure = await this.step(this.waiting[0]!);
      if (!failure) {
        wait = FIRST_WAIT_MS;
        continue;
      }
      this.hooks.state('unsaved', failure.message);
      this.release();
      await new Promise<void>((done) => {
        const timer = setTimeout(done, wait);
        this.wake = () => {
          clearTimeout(timer);
          done();
        };
      });
      this.wake = null;
      wait = Math.min(wait * 2, MOST_WAIT_MS);
    }
    this.running = false;
    if (!this.stopped) this.hooks.state('saved', '');
    this.release();
  }

  private release(): void {
    this.idle.splice(0).forEach((done) => done());
  }

  /** The oldest one is dealt with, unless a failure says that it must wait. */
  private async step(what: Edit | Request): Promise<Failure | null> {
    try {
      if (typeof what === 'function') {
        const patch = await what();
        this.waiting.shift();
        if (!this.stopped) this.hooks.patched(patch);
      } else {
        const progress = await this.hooks.send(what);
        this.waiting.shift();
        void this.hooks.forget(what.edit_id);
        if (!this.stopped) this.hooks.progress(progress);
      }
      return null;
    } catch (error) {
      const failure = asFailure(error);
      if (typeof what !== 'function' && isPassing(failure)) return failure;
      this.waiting.shift();
      if (typeof what !== 'function') void this.hooks.forget(what.edit_id);
      if (!this.stopped) this.hooks.refused(failure);
      return null;
    }
  }
}
