// Where each layer stands when a network is drawn as the U that it is: down on the left, up on the right, a row a resolution.

import type { Layer } from './types';

export interface PlannedLayer {
  layer: Layer;
  x: number; // of its left edge, rem
  y: number; // of its top, rem
}

export interface NetworkPlan {
  places: PlannedLayer[];
  width: number; // rem
  height: number;
}

export const NODE = { width: 4.25, picture: 2.25, height: 4.4 }; // rem: a layer with its picture and its two lines of text
const STEP = 2.25; // rem that each resolution stands further in
const GAP = 0.5;
const BETWEEN = 2.5; // rem at least between the way down and the way up

export function networkPlan(layers: readonly Layer[]): NetworkPlan {
  const heights = [...new Set(layers.map((layer) => layer.shape[1]))].sort((p, q) => q - p);
  const level = (layer: Layer) => heights.indexOf(layer.shape[1]);
  const isDown = (layer: Layer) => layer.group === 'input' || layer.group === 'convolutional';
  const on = (row: number, down: boolean) => layers.filter((one) => level(one) === row && isDown(one) === down);
  const size = (many: number) => many * (NODE.width + GAP);
  const width = Math.max(
    ...heights.map((_, row) => {
      const [left, right] = [on(row, true).length, on(row, false).length];
      return size(left) + size(right) + row * STEP * (right ? 2 : 1) + (right ? BETWEEN : 0);
    }),
  );
  const places = heights.flatMap((_, row) => {
    const y = row * (NODE.height + GAP);
    const right = on(row, false);
    return [
      ...on(row, true).map((layer, i) => ({ layer, x: row * STEP + size(i), y })),
      ...right.map((layer, i) => ({ layer, x: width - row * STEP - size(right.length - i), y })),
    ];
  });
  return { places, width, height: heights.length * (NODE.height + GAP) };
}
