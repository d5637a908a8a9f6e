// The tool in use: pointer and keyboard end here.

import type { Box } from '../labelTypes';
import { BrushUse } from './brushUse';
import { ClickUse } from './clickUse';
import type { Draft, Sample, ToolUse } from './draft.svelte';
import { FloodUse, SuperpixelUse } from './fillUse';
import { OutlineUse } from './outlineUse';
import { RectangleUse } from './rectangleUse';
import type { LabelSession } from './session.svelte';

export class Toolbox {
  private use: ToolUse | null = null;
  private stop: (() => void) | null = null;
  isDown = false;

  constructor(
    private readonly session: LabelSession,
    private readonly draft: Draft,
    private readonly pixels: (box: Box) => Promise<Uint8ClampedArray>,
  ) {}

  /** Another tool, or another image: what was begun is cancelled. */
  choose(): void {
    this.cancel();
    const { session, draft } = this;
    const stoppable = (use: OutlineUse | ClickUse): ToolUse => {
      this.stop = () => use.stop();
      return use;
    };
    this.stop = null;
    switch (session.tool) {
      case 'brush':
      case 'eraser':
      case 'scribble':
        this.use = new BrushUse(session, session.tool);
        break;
      case 'polygon':
      case 'lasso':
        this.use = stoppable(new OutlineUse(session, draft, session.tool));
        break;
      case 'rectangle':
        this.use = new RectangleUse(session, draft);
        break;
      case 'flood':
        this.use = new FloodUse(session, draft, this.pixels);
        break;
      case 'superpixel':
        this.use = new SuperpixelUse(session, draft);
        break;
      case 'click':
        this.use = stoppable(new ClickUse(session, draft));
        break;
      case 'pan':
        this.use = null;
    }
  }

  press(at: Sample, negative = false): void {
    this.session.touch();
    this.isDown = true;
    this.use?.press(at, negative);
  }

  drag(to: readonly Sample[]): void {
    this.session.touch();
    if (this.isDown) this.use?.drag(to);
  }

  lift(): void {
    if (!this.isDown) return;
    this.isDown = false;
    this.session.touch();
    this.use?.lift();
  }

  /** As if the press had not been. */
  abandon(): void {
    if (this.isDown) this.use?.abandon();
    this.isDown = false;
  }

  hover(at: Sample): void {
    if (!this.isDown) this.use?.hover?.(at);
  }

  enter(): void {
    this.lift();
    void this.use?.enter?.();
  }

  backspace(at: Sample): void {
    this.use?.backspace?.(at);
  }

  /** Cancels what was begun. False where nothing was. */
  cancel(): boolean {
    const begun = this.isDown || !this.draft.isEmpty;
    this.abandon();
    this.stop?.();
    this.draft.clear();
    return begun;
  }
}
