// Drawing without a mouse: a cursor that the arrow keys move, and Space in place of a button.

import type { Draft, Sample } from './draft.svelte';
import type { LabelSession } from './session.svelte';
import type { Toolbox } from './toolbox';

const BIG_STEP = 10; // pixels, with Shift
const SAY_AFTER_MS = 400;

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const TOGGLES = ['brush', 'eraser', 'scribble', 'rectangle', 'lasso']; // Space begins, and ends with the next one

export class CanvasKeys {
  spaceHeld = false;
  dragged = false; // with Space held: the image was moved
  private viewing = false; // the photo alone, while a key is held
  private isDown = false;
  private later: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly session: LabelSession,
    private readonly draft: Draft,
    private readonly toolbox: Toolbox,
    private readonly pressed: (down: boolean) => void,
  ) {}

  down(event: KeyboardEvent): void {
    if (!this.session.image || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!this.take(event)) return;
    event.preventDefault();
    this.session.touch();
  }

  up(event: KeyboardEvent): void {
    if (event.key === 'v' && this.viewing) this.viewing = this.session.before = false;
    if (event.key !== ' ' || !this.spaceHeld) return;
    this.spaceHeld = false;
    event.preventDefault();
    if (!this.dragged) this.space(event.shiftKey);
    this.dragged = false;
  }

  /** The brush is no longer held down by the keyboard: the mouse takes over, or the focus goes. */
  release(): void {
    if (this.isDown) this.toolbox.lift();
    this.hold(false);
  }

  /** The focus is gone: keys that are held are not seen to come up. */
  blur(): void {
    this.release();
    if (this.viewing) this.session.before = false;
    this.spaceHeld = this.viewing = false;
  }

  pick(): void {
    const { session } = this;
    const at = session.cursorPixel;
    if (!at) return;
    const key = session.underCursor;
    session.key = key;
    session.say(`Class: ${session.className(key)}`);
  }

  stop(): void {
    clearTimeout(this.later);
  }

  /** False where the key is not the canvas's. */
  private take(event: KeyboardEvent): boolean {
    const { session, toolbox } = this;
    const arrow = ARROWS[event.key];
    if (arrow) this.step(arrow, event.shiftKey ? BIG_STEP : 1);
    else if (event.key === ' ') {
      if (!event.repeat) [this.spaceHeld, this.dragged] = [true, false];
    } else if (event.key === 'Enter' && !event.shiftKey) {
      this.hold(false);
      toolbox.enter();
    } else if (event.key === 'Escape') {
      this.hold(false);
      if (!toolbox.cancel()) return false;
      session.say('Cancelled');
    } else if (event.key === 'Backspace' || event.key === 'Delete') {
      toolbox.backspace(this.at());
    } else if (event.key === '+' || event.key === '=') session.zoomBy(1.5, this.onScreen());
    else if (event.key === '-') session.zoomBy(1 / 1.5, this.onScreen());
    else if (event.key === 'i') this.pick();
    else if (event.key === 'a') {
      const at = session.cursorPixel;
      if (at) session.accept(at);
    } else return this.takeSetting(event.key);
    return true;
  }

  private takeSetting(key: string): boolean {
    const { session } = this;
    if (key === '[' || key === ']') {
      session.size =
        key === '[' ? Math.max(1, Math.floor(session.size / 1.25)) : Math.min(500, Math.ceil(session.size * 1.25));
      session.say(`Size ${session.size}`);
    } else if (key === 'v') this.viewing = session.before = true;
    else if (key === 'o') session.outlines = !session.outlines;
    else if (key === '0') session.fit();
    else return false;
    return true;
  }

  private step([dx, dy]: [number, number], by: number): void {
    const { session, toolbox } = this;
    if (session.tool === 'pan') return session.moveBy(-dx * by * 8, -dy * by * 8);
    session.stepCursor(dx * by, dy * by);
    if (this.isDown) toolbox.drag([this.at()]);
    else toolbox.hover(this.at());
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      const at = session.cursorPixel;
      if (at) session.say(`${at.x}, ${at.y}: ${session.className(session.underCursor)}`);
    }, SAY_AFTER_MS);
  }

  private space(negative: boolean): void {
    const { session, toolbox } = this;
    if (!session.cursor) session.stepCursor(0, 0);
    if (this.isDown) {
      toolbox.lift();
      this.hold(false);
    } else if (session.tool === 'pan') session.say('Arrow keys move the image');
    else {
      const holds = TOGGLES.includes(session.tool) && !(session.tool === 'lasso' && this.draft.outline.corners.length);
      toolbox.press(this.at(), negative);
      if (holds) this.hold(true);
      else toolbox.lift();
    }
  }

  private hold(down: boolean): void {
    this.isDown = down;
    this.pressed(down);
  }

  private at(): Sample {
    const { cursor } = this.session;
    return { x: cursor?.x ?? 0, y: cursor?.y ?? 0, pressure: 1 };
  }

  private onScreen(): [number, number] | undefined {
    const { cursor, viewport } = this.session;
    return cursor
      ? [(cursor.x - viewport.left) * viewport.scale, (cursor.y - viewport.top) * viewport.scale]
      : undefined;
  }
}
