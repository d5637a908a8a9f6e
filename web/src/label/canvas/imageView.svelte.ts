// The opened image, which part of it is in sight, where the cursor is, and how photo and mask are shown.

import type { BandView } from '../../lib/falseColour';
import type { Box, OpenedImage } from '../labelTypes';
import {
  bounded,
  centred,
  fit,
  fitScale,
  following,
  moved,
  showing,
  visible,
  zoomed,
  type Size,
  type Viewport,
} from './viewport';

export class ImageView {
  image = $state.raw<OpenedImage | null>(null);
  cursor = $state.raw<{ x: number; y: number } | null>(null); // a place of the image, not rounded
  viewport = $state.raw<Viewport>({ scale: 1, left: 0, top: 0 });
  screen = $state.raw<Size>({ width: 0, height: 0 }); // of the canvas, in CSS pixels

  // set by the page
  opacity = $state(0.5); // of the mask, 0–1
  outlines = $state(false); // only where classes meet
  hatching = $state(false);
  before = $state(false); // the photo alone, as long as a key is held
  showProposal = $state(true);
  hidden = $state.raw<readonly number[]>([]); // classes that are not shown
  view = $state.raw<BandView | null>(null); // which bands are shown; null: as the server likes

  /** The pixel at the cursor; null outside the image. */
  get cursorPixel(): { x: number; y: number } | null {
    if (!this.cursor || !this.image) return null;
    const [x, y] = [Math.floor(this.cursor.x), Math.floor(this.cursor.y)];
    return x >= 0 && y >= 0 && x < this.image.width && y < this.image.height ? { x, y } : null;
  }
  get visible(): Box | null {
    return this.image && this.screen.width ? visible(this.viewport, this.image, this.screen) : null;
  }

  /** The canvas has another size: all of the image stays in sight if it was, else what is in the middle stays there. */
  resize(screen: Size): void {
    const { image, viewport, screen: former } = this;
    if (screen.width === former.width && screen.height === former.height) return;
    const [x, y] = this.middle();
    this.screen = screen;
    if (!image) return;
    const fitted = !former.width || !former.height || Math.abs(viewport.scale / fitScale(image, former) - 1) < 1e-6;
    this.viewport = fitted ? fit(image, screen) : bounded(centred(viewport.scale, x, y, screen), image, screen);
  }

  fit(): void {
    if (this.image && this.screen.width) this.viewport = fit(this.image, this.screen);
  }

  /** One pixel of the image for each pixel of the screen. */
  actualSize(): void {
    this.zoomTo(1 / (globalThis.devicePixelRatio || 1));
  }

  zoomTo(scale: number): void {
    if (!this.image) return;
    const [x, y] = this.middle();
    this.viewport = bounded(centred(scale, x, y, this.screen), this.image, this.screen);
  }

  zoomBy(factor: number, at: [number, number] = [this.screen.width / 2, this.screen.height / 2]): void {
    if (this.image) this.viewport = zoomed(this.viewport, factor, ...at, this.image, this.screen);
  }

  /** Brings a part of the image into sight: the least sure one, say. */
  panTo(box: Box): void {
    if (this.image) this.viewport = showing(box, this.image, this.screen);
  }

  moveBy(dx: number, dy: number): void {
    if (this.image) this.viewport = moved(this.viewport, dx, dy, this.image, this.screen);
  }

  /** The cursor moved by whole pixels, and kept in sight. */
  stepCursor(dx: number, dy: number): void {
    const { image } = this;
    if (!image) return;
    const [x, y] = this.cursor ? [this.cursor.x, this.cursor.y] : this.middle();
    const within = (at: number, length: number) => Math.min(Math.max(Math.floor(at), 0), length - 1) + 0.5;
    this.cursor = { x: within(x + dx, image.width), y: within(y + dy, image.height) };
    this.viewport = following(this.viewport, this.cursor.x, this.cursor.y, this.screen);
  }

  private middle(): [number, number] {
    const { scale, left, top } = this.viewport;
    return [left + this.screen.width / 2 / scale, top + this.screen.height / 2 / scale];
  }
}
