// A convolution worked out place by place on the values that it reads, as the model's own first layer does it.

import type { LayerValues, Unit, UnitStep } from './types';

export interface Kernel {
  reads: LayerValues;
  size: number; // its side
  stride: number;
  top: number; // row of its window for the value (0, 0): minus the padding
  left: number;
  bias: number;
  weights: number[][][]; // [channels, size, size]
}

export interface KernelPlace {
  x: number; // of the value that is computed
  y: number;
  row: number; // of its window's first value
  column: number;
  sums: number[]; // for each channel, the sum of input × weight
  result: number;
}

/** The kernel of a value of a layer that reads `reads`; null where its weights are not whole here. */
export function kernelOf(unit: Unit, reads: LayerValues): Kernel | null {
  const step = unit.steps.find((one): one is UnitStep & { corner: [number, number] } => one.step === 'convolution');
  if (!step?.weights || !step.corner || step.reads !== reads.name) return null;
  if (step.channels !== reads.channels || step.weights.length !== reads.channels) return null;
  const stride = step.stride ?? 1;
  return {
    reads,
    size: step.weights[0]?.length ?? 1,
    stride,
    top: step.corner[0] - unit.y * stride,
    left: step.corner[1] - unit.x * stride,
    bias: step.bias ?? 0,
    weights: step.weights,
  };
}

/** What the kernel gives at (x, y) of its layer; beyond the edge of what it reads are zeros. */
export function slideTo({ reads, size, stride, top, left, bias, weights }: Kernel, x: number, y: number): KernelPlace {
  const [row, column] = [y * stride + top, x * stride + left];
  const sums = weights.map((plane, c) => {
    let sum = 0;
    for (let r = 0; r < size; r++) {
      for (let k = 0; k < size; k++) {
        const [v, u] = [row + r, column + k];
        if (v < 0 || u < 0 || v >= reads.h || u >= reads.w) continue;
        sum += reads.values[(c * reads.h + v) * reads.w + u]! * plane[r]![k]!;
      }
    }
    return sum;
  });
  return { x, y, row, column, sums, result: bias + sums.reduce((total, one) => total + one, 0) };
}

/** The values around (x, y) in reading order, `reach` to each side, as far as the layer goes. */
export function placesAround(x: number, y: number, reach: number, w: number, h: number): { x: number; y: number }[] {
  const found = [];
  for (let v = Math.max(0, y - reach); v <= Math.min(h - 1, y + reach); v++) {
    for (let u = Math.max(0, x - reach); u <= Math.min(w - 1, x + reach); u++) found.push({ x: u, y: v });
  }
  return found;
}
