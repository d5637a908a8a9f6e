// The two pictures on top of each other, photo and mask, each drawn again only where and when it must be.

import type { Box, OpenedImage } from '../labelTypes';
import { union } from './maskEdit';
import { paintScreen, screenBox, ScreenMap, type Scene } from './maskPaint';
import { levelFor, tilesOf, type TileCache } from './tileCache';
import { visible, type Size, type Viewport } from './viewport';

const SMOOTH_BELOW = 2; // pixels of the screen for each one of the image; from there on, pixels are squares

export function drawPhoto(
  canvas: HTMLCanvasElement,
  tiles: TileCache,
  view: Viewport,
  screen: Size,
  ratio: number,
): void {
  const context = canvas.getContext('2d', { alpha: true });
  if (!context) return;
  const { image } = tiles;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const part = visible(view, image, screen);
  if (!part) return tiles.want([]);
  const scale = view.scale * ratio;
  context.imageSmoothingEnabled = scale < SMOOTH_BELOW;
  const level = levelFor(scale, image.levels);
  const coarsest = image.levels - 1;
  const wanted = tilesOf(part, level, image.tile);
  const base = level === coarsest ? [] : tilesOf(part, coarsest, image.tile); // small, and all there is at first
  for (const at of [coarsest, ...Array.from({ length: coarsest - level }, (_, i) => coarsest - 1 - i)]) {
    for (const place of at === level ? wanted : tilesOf(part, at, image.tile)) {
      const tile = tiles.get(place);
      if (tile) drawTile(context, tile, place, image, view, scale);
    }
    if (at !== level && wanted.every((place) => tiles.get(place))) {
      context.clearRect(0, 0, canvas.width, canvas.height); // nothing coarser is needed
      for (const place of wanted) drawTile(context, tiles.get(place)!, place, image, view, scale);
      break;
    }
  }
  tiles.want([...base, ...wanted]);
}

function drawTile(
  context: CanvasRenderingContext2D,
  tile: ImageBitmap,
  { level, column, row }: { level: number; column: number; row: number },
  image: OpenedImage,
  view: Viewport,
  scale: number,
): void {
  const side = image.tile * 2 ** level;
  // whole pixels of the screen, so that there is no seam between tiles
  const at = (place: number, start: number) => Math.round((place - start) * scale);
  const [left, top] = [at(column * side, view.left), at(row * side, view.top)];
  const right = at(Math.min(column * side + tile.width * 2 ** level, image.width), view.left);
  const bottom = at(Math.min(row * side + tile.height * 2 ** level, image.height), view.top);
  context.drawImage(tile, left, top, right - left, bottom - top);
}

export class MaskLayer {
  private picture: ImageData | null = null;
  private pixels = new Uint32Array();
  private map: ScreenMap | null = null;
  private view: Viewport | null = null;
  private dirty: Box | null = null; // pixels of the image
  private all = true;

  /** Something changed in a box of the image; null: anywhere. */
  change(box: Box | null): void {
    if (box) this.dirty = union(this.dirty, box);
    else this.all = true;
  }

  draw(canvas: HTMLCanvasElement, scene: Scene, view: Viewport, ratio: number): void {
    const context = canvas.getContext('2d');
    const { width, height } = canvas;
    if (!context || !width || !height) return;
    if (this.picture?.width !== width || this.picture.height !== height) {
      this.picture = context.createImageData(width, height);
      this.pixels = new Uint32Array(this.picture.data.buffer);
      this.all = true;
    }
    if (this.view !== view || !this.map || this.all) {
      this.map = new ScreenMap(view, scene.mask, width, height, ratio);
      this.view = view;
      this.all = true;
    }
    const whole = { x: 0, y: 0, w: width, h: height };
    const part = this.all ? whole : this.dirty && screenBox(this.map, view, ratio, this.dirty);
    this.all = false;
    this.dirty = null;
    if (!part) return;
    paintScreen(this.pixels, this.map, part, scene);
    context.putImageData(this.picture, 0, 0, part.x, part.y, part.w, part.h);
  }
}
