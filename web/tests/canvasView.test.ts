import { describe, expect, it } from 'vitest';
import { MaskEdit, PERSON, type LabelMask } from '../src/label/canvas/maskEdit';
import { paintScreen, palette, screenBox, ScreenMap, type Scene } from '../src/label/canvas/maskPaint';
import { levelFor, tilesOf } from '../src/label/canvas/tileCache';
import {
  bounded,
  fit,
  following,
  moved,
  showing,
  toImage,
  toScreen,
  visible,
  zoomed,
} from '../src/label/canvas/viewport';
import type { LabelClass, Proposal } from '../src/label/labelTypes';
import { rgba } from '../src/lib/paint';

const image = { width: 4000, height: 3000 };
const screen = { width: 1000, height: 500 };

describe('the view', () => {
  it('fits, and gives places there and back', () => {
    const view = fit(image, screen);
    expect(view.scale).toBeCloseTo(1 / 6);
    expect(toScreen(view, 2000, 1500)).toEqual([500, 250]);
    const [x, y] = toImage(view, ...toScreen(view, 123.25, 456.5));
    expect([x, y].map((at) => at.toFixed(6))).toEqual(['123.250000', '456.500000']);
  });

  it('zooms around the place under the pointer, to single pixels and not beyond', () => {
    let view = fit(image, screen);
    const before = toImage(view, 700, 100);
    view = zoomed(view, 3, 700, 100, image, screen);
    toImage(view, 700, 100).forEach((at, i) => expect(at).toBeCloseTo(before[i]!));
    expect(zoomed(view, 1e9, 700, 100, image, screen).scale).toBe(64);
    expect(zoomed(view, 1e-9, 700, 100, image, screen).scale).toBeCloseTo(1 / 12);
  });

  it('never loses the image', () => {
    for (const [dx, dy] of [
      [1e6, 1e6],
      [-1e6, -1e6],
    ] as const) {
      const view = moved(fit(image, screen), dx, dy, image, screen);
      expect(visible(view, image, screen)).not.toBeNull();
    }
    const tiny = { width: 1, height: 1 };
    expect(visible(bounded({ scale: 64, left: 900, top: 900 }, tiny, screen), tiny, screen)).toEqual({
      ...{ x: 0, y: 0, w: 1, h: 1 },
    });
  });

  it('follows the cursor, and shows a box with room around', () => {
    const view = { scale: 10, left: 0, top: 0 };
    expect(following(view, 50, 20, screen)).toEqual(view);
    const there = following(view, 500, 20, screen);
    expect(toScreen(there, 500, 20)[0]).toBeCloseTo(976);
    const box = { x: 1000, y: 1000, w: 200, h: 100 };
    const part = visible(showing(box, image, screen), image, screen)!;
    expect(part.x < 1000 && part.y < 1000 && part.x + part.w > 1200 && part.y + part.h > 1100).toBe(true);
  });
});

describe('tiles', () => {
  it('are as fine as the screen, and no finer than there are', () => {
    expect([4, 1, 0.6, 0.5, 0.3, 0.01].map((scale) => levelFor(scale, 4))).toEqual([0, 0, 0, 1, 1, 3]);
  });

  it('cover what is in sight, the middle first', () => {
    const found = tilesOf({ x: 600, y: 0, w: 2000, h: 900 }, 1, 512);
    expect(found).toHaveLength(3);
    expect(found[0]).toEqual({ level: 1, column: 1, row: 0 });
  });
});

const classes: LabelClass[] = [
  { key: 0, name: 'a', colour: [255, 0, 0], locked: false },
  { key: 1, name: 'b', colour: [0, 0, 255], locked: false },
];
const look = { opacity: 1, outlines: false, hatching: false, hidden: [] };
const RED = rgba(255, 0, 0);
const BLUE = rgba(0, 0, 255);

function scene(changes: Partial<Scene> = {}, how = look): Scene {
  const mask: LabelMask = { width: 4, height: 3, keys: new Uint8Array(12).fill(255), drawn: new Uint8Array(12) };
  return { mask, proposal: null, preview: null, palette: palette(classes, how), ...changes };
}

function painted(what: Scene, view = { scale: 1, left: 0, top: 0 }, width = 4, height = 3): Uint32Array {
  const out = new Uint32Array(width * height).fill(7);
  paintScreen(out, new ScreenMap(view, what.mask, width, height, 1), { x: 0, y: 0, w: width, h: height }, what);
  return out;
}

describe('the mask on the screen', () => {
  it('has the classes’ colours; what is not labelled, or beyond the image, is clear', () => {
    const what = scene();
    what.mask.keys.set([0, 1], 0);
    expect([...painted(what)].slice(0, 4)).toEqual([RED, BLUE, 0, 0]);
    expect([...painted(what, { scale: 2, left: -1, top: 0 }, 8, 2)].slice(0, 8)).toEqual([
      ...[0, 0, RED, RED, BLUE, BLUE, 0, 0],
    ]);
    expect([...painted(scene({ mask: what.mask }, { ...look, hidden: [0] } as typeof look))].slice(0, 2)).toEqual([
      0,
      BLUE,
    ]);
  });

  it('as outlines leaves the inside clear', () => {
    const what = scene({}, { ...look, outlines: true });
    what.mask.keys.fill(0);
    what.mask.keys[11] = 1;
    const out = painted(what, { scale: 10, left: 0, top: 0 }, 40, 30);
    expect(out[5 * 40 + 5]).toBe(0); // the image's own edge is no outline
    expect(out[20 * 40 + 30]).toBe(BLUE);
    expect(out[20 * 40 + 29]).toBe(RED);
    expect(out[25 * 40 + 35]).toBe(0);
  });

  it('shows a proposal otherwise than a label, and never over what the person has drawn', () => {
    const what = scene();
    new MaskEdit(what.mask, []).span(0, 0, 1, 0);
    expect(what.mask.drawn[0]).toBe(PERSON);
    const proposal = { window: { x: 0, y: 0, w: 4, h: 3 }, labels: new Uint8Array(12).fill(1) } as Proposal;
    const out = painted({ ...what, proposal }, { scale: 40, left: 0, top: 0 }, 160, 120);
    const inside = [...out.filter((_, at) => at % 160 > 44 && at % 160 < 156 && at >= 160 * 4 && at < 160 * 116)];
    const share = inside.filter((colour) => colour === BLUE).length / inside.length;
    expect(share).toBeGreaterThan(0.15);
    expect(share).toBeLessThan(0.5);
    expect([...out.filter((_, at) => at % 160 < 40 && at < 160 * 40)].every((colour) => colour === RED)).toBe(true);
  });

  it('previews a region in its class', () => {
    const preview = { x: 1, y: 1, w: 2, h: 1, mask: Uint8Array.of(1, 0), key: 1 };
    const out = painted(scene({ preview }), { scale: 20, left: 0, top: 0 }, 80, 60);
    expect(out[30 * 80 + 30]).toBe(BLUE);
    expect(out[30 * 80 + 50]).toBe(0);
    expect(out[10 * 80 + 30]).toBe(0);
  });

  it('is drawn again only where it changed', () => {
    const what = scene();
    const view = { scale: 10, left: 0, top: 0 };
    const map = new ScreenMap(view, what.mask, 40, 30, 1);
    const box = screenBox(map, view, 1, { x: 1, y: 1, w: 1, h: 1 })!;
    expect(box).toEqual({ x: 8, y: 8, w: 14, h: 14 });
    const out = new Uint32Array(40 * 30).fill(7);
    paintScreen(out, map, box, what);
    expect(out.filter((value) => value !== 7)).toHaveLength(14 * 14);
    expect(screenBox(map, view, 1, { x: 9, y: 9, w: 1, h: 1 })).toBeNull();
  });
});
