// The photo in tiles, as the server cuts them: those in sight are fetched first, and the newest are kept.

import * as api from '../labelApi';
import type { BandView } from '../../lib/falseColour';
import type { Box, OpenedImage } from '../labelTypes';

const MOST_TILES = 160; // of 512 × 512 pixels: 160 MB
const AT_ONCE = 6;

export interface TilePlace {
  level: number;
  column: number;
  row: number;
}

const name = ({ level, column, row }: TilePlace) => `${level}/${column}/${row}`;

/** The level whose pixels are not larger than the screen's. `scale`: pixels of the screen for each one of the image. */
export function levelFor(scale: number, levels: number): number {
  return Math.min(Math.max(Math.floor(Math.log2(1 / scale)), 0), levels - 1);
}

/** The tiles of a level that a box of the image touches, those in its middle first. */
export function tilesOf(box: Box, level: number, tile: number): TilePlace[] {
  const side = tile * 2 ** level;
  const found: TilePlace[] = [];
  for (let row = Math.floor(box.y / side); row * side < box.y + box.h; row++)
    for (let column = Math.floor(box.x / side); column * side < box.x + box.w; column++)
      found.push({ level, column, row });
  const far = ({ column, row }: TilePlace) =>
    Math.hypot((column + 0.5) * side - box.x - box.w / 2, (row + 0.5) * side - box.y - box.h / 2);
  return found.sort((a, b) => far(a) - far(b));
}

export class TileCache {
  private loaded = new Map<string, ImageBitmap>(); // the least used first
  private loading = new Map<string, AbortController>();
  private wanted: TilePlace[] = [];
  private failed = new Set<string>();

  constructor(
    readonly image: OpenedImage,
    readonly view: BandView | null,
    private readonly arrived: (failure: unknown) => void,
  ) {}

  /** A tile that is here, or null. */
  get(place: TilePlace): ImageBitmap | null {
    const key = name(place);
    const tile = this.loaded.get(key);
    if (!tile) return null;
    this.loaded.delete(key);
    this.loaded.set(key, tile);
    return tile;
  }

  /** Fetch these, in this order, and nothing else any more. */
  want(places: TilePlace[]): void {
    this.wanted = places.filter((place) => !this.loaded.has(name(place)) && !this.failed.has(name(place)));
    const names = new Set(this.wanted.map(name));
    for (const [key, control] of this.loading) if (!names.has(key)) control.abort();
    this.next();
  }

  /** The pixels [h, w, 4] of a part of the full-size image. */
  async pixels(box: Box): Promise<Uint8ClampedArray> {
    const canvas = new OffscreenCanvas(box.w, box.h);
    const context = canvas.getContext('2d', { willReadFrequently: true })!;
    const { tile } = this.image;
    const places = tilesOf(box, 0, tile);
    const draw = async (place: TilePlace): Promise<void> => {
      const bitmap = this.get(place) ?? (await this.fetch(place, new AbortController().signal));
      context.drawImage(bitmap, place.column * tile - box.x, place.row * tile - box.y);
    };
    for (let i = 0; i < places.length; i += AT_ONCE) await Promise.all(places.slice(i, i + AT_ONCE).map(draw));
    return context.getImageData(0, 0, box.w, box.h).data;
  }

  /** Another image, or other bands: give everything back. */
  clear(): void {
    this.wanted = [];
    for (const control of this.loading.values()) control.abort();
    for (const tile of this.loaded.values()) tile.close();
    this.loaded.clear();
  }

  private next(): void {
    while (this.loading.size < AT_ONCE) {
      const place = this.wanted.find((one) => !this.loading.has(name(one)));
      if (!place) return;
      void this.load(place);
    }
  }

  private async load(place: TilePlace): Promise<void> {
    const key = name(place);
    const control = new AbortController();
    this.loading.set(key, control);
    let failure: unknown = null;
    try {
      await this.fetch(place, control.signal);
    } catch (error) {
      if (!control.signal.aborted) {
        failure = error;
        this.failed.add(key);
        setTimeout(() => this.failed.delete(key), 2000); // wanted again, it is asked for again
      }
    }
    this.loading.delete(key);
    this.wanted = this.wanted.filter((one) => name(one) !== key);
    if (!control.signal.aborted) this.arrived(failure);
    this.next();
  }

  private async fetch(place: TilePlace, signal: AbortSignal): Promise<ImageBitmap> {
    const { level, column, row } = place;
    const blob = await api.tile(api.tileLink(this.image.id, level, column, row, this.view), signal);
    const bitmap = await createImageBitmap(blob);
    this.loaded.set(name(place), bitmap);
    for (const [key, old] of this.loaded) {
      if (this.loaded.size <= MOST_TILES) break;
      old.close();
      this.loaded.delete(key);
    }
    return bitmap;
  }
}
