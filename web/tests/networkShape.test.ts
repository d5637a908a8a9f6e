// The network drawn as a U, a kernel that slides, and the patches that excite a channel.

import { describe, expect, it } from 'vitest';
import { NODE, networkPlan } from '../src/lib/networkPlan';
import { patchOf, strongestPlaces } from '../src/lib/patches';
import { kernelOf, placesAround, slideTo } from '../src/lib/slidingKernel';
import { layerOf, predictionOf, randomNumbers } from './samples';

describe('the network as a U', () => {
  const layers = [
    layerOf('input', [3, 64, 96], { group: 'input' }),
    layerOf('stem', [8, 32, 48]),
    layerOf('a', [16, 16, 24]),
    layerOf('b', [16, 16, 24]),
    layerOf('deep', [32, 8, 12]),
    layerOf('up4', [8, 16, 24], { group: 'upsampling' }),
    layerOf('scores', [5, 32, 48], { group: 'pixel-wise classification' }),
  ];
  const plan = networkPlan(layers);
  const at = (name: string) => plan.places.find((one) => one.layer.name === name)!;
  it('has one row for each resolution, finer ones above', () => {
    expect(at('stem').y).toBe(at('scores').y);
    expect(at('a').y).toBe(at('up4').y);
    expect([at('input').y, at('stem').y, at('a').y, at('deep').y]).toEqual(
      [0, 1, 2, 3].map((row) => row * at('stem').y),
    );
  });
  it('goes down on the left and up on the right, and no two layers overlap', () => {
    expect(at('up4').x).toBeGreaterThan(at('b').x + NODE.width);
    expect(at('scores').x).toBeGreaterThan(at('up4').x);
    for (const one of plan.places) {
      expect(one.x).toBeGreaterThanOrEqual(0);
      expect(one.x + NODE.width).toBeLessThanOrEqual(plan.width);
      for (const other of plan.places)
        if (one !== other && one.y === other.y) expect(Math.abs(one.x - other.x)).toBeGreaterThanOrEqual(NODE.width);
    }
  });
});

const values = (rows: number[][]) => ({
  name: 'input',
  channels: 1,
  h: rows.length,
  w: rows[0]!.length,
  values: Float32Array.from(rows.flat()),
});

describe('a kernel', () => {
  const reads = values([
    [1, 2, 3],
    [4, 5, 6],
    [7, 8, 9],
  ]);
  const step = { step: 'convolution' as const, text: '', result: 0, stride: 2, bias: 0.5, channels: 1, reads: 'input' };
  const weights = [
    [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ],
  ];
  const unit = { layer: 'stem', channel: 0, x: 1, y: 1, value: 0 };
  it('gives bias + Σ input × weight, with zeros beyond the edge', () => {
    const kernel = kernelOf({ ...unit, steps: [{ ...step, weights, corner: [1, 1] }] }, reads)!;
    expect(kernel).toMatchObject({ size: 3, stride: 2, top: -1, left: -1 });
    expect(slideTo(kernel, 0, 0)).toMatchObject({ row: -1, column: -1, sums: [6], result: 6.5 }); // 1 + 5
    expect(slideTo(kernel, 1, 1)).toMatchObject({ row: 1, column: 1, sums: [14], result: 14.5 }); // 5 + 9
  });
  it('is shown only where all of its weights are here and it reads this layer', () => {
    expect(kernelOf({ ...unit, steps: [{ ...step, weights: null, corner: [1, 1] }] }, reads)).toBeNull();
    expect(kernelOf({ ...unit, steps: [{ ...step, weights, corner: [1, 1], channels: 8 }] }, reads)).toBeNull();
    expect(kernelOf({ ...unit, steps: [{ ...step, weights, corner: [1, 1], reads: 'a' }] }, reads)).toBeNull();
  });
  it('stays inside its layer', () => {
    expect(placesAround(0, 1, 1, 3, 3)).toEqual([
      ...[0, 1].map((x) => ({ x, y: 0 })),
      ...[0, 1].map((x) => ({ x, y: 1 })),
      ...[0, 1].map((x) => ({ x, y: 2 })),
    ]);
  });
});

describe('the patches that excite a channel', () => {
  it('are its highest values, apart from each other, and none where it is never above zero', () => {
    const layer = values([
      [0, 9, 8],
      [0, 0, 0],
      [5, 0, -1],
    ]);
    expect(strongestPlaces(layer, 0, 6, 2)).toEqual([
      { x: 1, y: 0, value: 9 },
      { x: 0, y: 2, value: 5 },
    ]);
    expect(strongestPlaces(values([[0, -1]]), 0, 3, 1)).toEqual([]);
  });
  it('lie in the image, whatever the layer', () => {
    const random = randomNumbers(3);
    const prediction = predictionOf('0'.repeat(40), 1);
    for (let i = 0; i < 50; i++) {
      const [h, w] = [1 + Math.floor(random() * 8), 1 + Math.floor(random() * 8)];
      const place = { x: Math.floor(random() * w), y: Math.floor(random() * h) };
      const patch = patchOf(place, layerOf('a', [1, h, w], { view_px: 300, step_px: 8 }), prediction);
      expect(patch.x).toBeGreaterThanOrEqual(0);
      expect(patch.x).toBeLessThan(prediction.width);
      expect(patch.width).toBeLessThanOrEqual(prediction.width);
    }
  });
});
