// Which part of the image is in sight. Places of the screen are CSS pixels from the canvas's top left corner.

import type { Box } from '../labelTypes';

export interface Size {
  width: number;
  height: number;
}

export interface Viewport {
  scale: number; // CSS pixels of the screen for each pixel of the image
  left: number; // the place of the image at the screen's left edge
  top: number;
}

export const MOST_SCALE = 64;
const IN_SIGHT = 48; // CSS pixels of the image that cannot be moved out of sight
const STEPS_OUT = 2; // how much smaller than the screen an image may be shown

export const toImage = (view: Viewport, x: number, y: number): [number, number] => [
  view.left + x / view.scale,
  view.top + y / view.scale,
];

export const toScreen = (view: Viewport, x: number, y: number): [number, number] => [
  (x - view.left) * view.scale,
  (y - view.top) * view.scale,
];

/** The largest scale at which all of the image is in sight. */
export const fitScale = (image: Size, screen: Size): number =>
  Math.min(screen.width / image.width, screen.height / image.height, MOST_SCALE);

/** The image at this scale with the place (x, y) in the middle. */
export function centred(scale: number, x: number, y: number, screen: Size): Viewport {
  return { scale, left: x - screen.width / 2 / scale, top: y - screen.height / 2 / scale };
}

export const fit = (image: Size, screen: Size): Viewport =>
  centred(fitScale(image, screen), image.width / 2, image.height / 2, screen);

/** The view with a scale that is allowed, and the image in sight. */
export function bounded(view: Viewport, image: Size, screen: Size): Viewport {
  const lowest = fitScale(image, screen) / STEPS_OUT;
  const scale = Math.min(Math.max(view.scale, lowest), MOST_SCALE);
  const side = (start: number, length: number, shown: number) => {
    const seen = Math.min(IN_SIGHT / scale, length);
    return Math.min(Math.max(start, seen - shown / scale), length - seen);
  };
  return {
    scale,
    left: side(view.left, image.width, screen.width),
    top: side(view.top, image.height, screen.height),
  };
}

/** Zoomed by a factor, so that the place under (x, y) of the screen stays there. */
export function zoomed(view: Viewport, factor: number, x: number, y: number, image: Size, screen: Size): Viewport {
  const [u, v] = toImage(view, x, y);
  const { scale } = bounded({ ...view, scale: view.scale * factor }, image, screen);
  return bounded({ scale, left: u - x / scale, top: v - y / scale }, image, screen);
}

export const moved = (view: Viewport, dx: number, dy: number, image: Size, screen: Size): Viewport =>
  bounded({ ...view, left: view.left - dx / view.scale, top: view.top - dy / view.scale }, image, screen);

/** Moved no further than needed to have the place (x, y) in sight, a little away from the edge. */
export function following(view: Viewport, x: number, y: number, screen: Size): Viewport {
  const edge = Math.min(24, screen.width / 4, screen.height / 4) / view.scale;
  const near = (at: number, start: number, shown: number) =>
    Math.min(Math.max(start, at + edge - shown / view.scale), at - edge);
  return { ...view, left: near(x, view.left, screen.width), top: near(y, view.top, screen.height) };
}

/** All of a box in sight, with room around it. */
export function showing(box: Box, image: Size, screen: Size): Viewport {
  const scale = Math.min(fitScale({ width: box.w, height: box.h }, screen) * 0.6, 8);
  return bounded(centred(scale, box.x + box.w / 2, box.y + box.h / 2, screen), image, screen);
}

/** The pixels that are in sight, whole ones. Null where there are none. */
export function visible(view: Viewport, image: Size, screen: Size): Box | null {
  const x = Math.max(Math.floor(view.left), 0);
  const y = Math.max(Math.floor(view.top), 0);
  const w = Math.min(Math.ceil(view.left + screen.width / view.scale), image.width) - x;
  const h = Math.min(Math.ceil(view.top + screen.height / view.scale), image.height) - y;
  return w > 0 && h > 0 ? { x, y, w, h } : null;
}
