// What has been begun on the canvas and is not an edit yet.

import type { ClickPoint, Region } from '../labelTypes';
import { NO_OUTLINE, type Outline } from './outlineCorners';
import type { Point } from './polygonFill';

export class Draft {
  outline = $state.raw<Outline>(NO_OUTLINE);
  hint = $state.raw<Point[]>([]); // from the last corner to the cursor, along edges
  rectangle = $state.raw<[Point, Point] | null>(null);
  points = $state.raw<ClickPoint[]>([]);
  preview = $state.raw<(Region & { key: number }) | null>(null);
  busy = $state(''); // what the canvas waits for

  clear(): void {
    this.outline = NO_OUTLINE;
    this.hint = [];
    this.rectangle = null;
    this.points = [];
    this.preview = null;
    this.busy = '';
  }

  get isEmpty(): boolean {
    return !this.outline.corners.length && !this.rectangle && !this.points.length;
  }
}

/** A place of the image, and how hard a pen presses, 0–1. */
export interface Sample {
  x: number;
  y: number;
  pressure: number;
}

/** What a tool does with the pointer, or with the keys that stand for it. */
export interface ToolUse {
  press(at: Sample, negative: boolean): void;
  drag(to: readonly Sample[]): void;
  lift(): void;
  abandon(): void; // as if the last press had not been: a second finger came
  hover?(at: Sample): void;
  enter?(): void | Promise<void>;
  backspace?(at: Sample): void;
}
