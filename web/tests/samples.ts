// Small made-up facts for the tests: each test says only what it is about.

import type { Epoch, Layer, Prediction, ModelFacts } from '../src/lib/types';

/** A prediction of `labels`, rows of digits: '001/221' is two rows of three pixels. Scores are zero unless given. */
export function predictionOf(labels: string, classes: number, more: Partial<Prediction> = {}): Prediction {
  const rows = labels.split('/');
  const values = Uint8Array.from(rows.join(''), Number);
  const [h, w] = [more.h ?? 1, more.w ?? 1];
  return {
    image: 'abc',
    slices: null,
    width: rows[0]!.length,
    height: rows.length,
    classes: Array.from({ length: classes }, (_, id) => ({
      id,
      name: `class ${id}`,
      colour: [id, id, id],
      share: values.filter((value) => value === id).length / values.length,
    })),
    milliseconds: { decode: 1, predict: 1 },
    temperature: 1,
    format: 'PNG',
    bytes: 1,
    ranges: [],
    labels: values,
    scores: new Float32Array(classes * h * w),
    h,
    w,
    ...more,
  };
}

export function modelOf(more: Partial<ModelFacts> = {}): ModelFacts {
  return {
    name: 'main',
    title: 'model',
    opens: 'model',
    digest: '0123456789abcdef',
    bytes: 1,
    parameters: 1,
    classes: [],
    size: [64, 96],
    policy: 'stretch',
    bands: {
      names: ['red', 'green', 'blue'],
      dtype: 'uint8',
      low: [0, 0, 0],
      high: [255, 255, 255],
      rgb: true,
      shown: [0, 1, 2],
    },
    even_exposure: false,
    stride: 2,
    mean: [0.5, 0.5, 0.5],
    std: [0.25, 0.25, 0.25],
    temperature: 1,
    stages: [],
    skips: [],
    receptive_field: null,
    provenance: {},
    licence: {},
    has_run: false,
    ...more,
  };
}

export function layerOf(name: string, shape: [number, number, number], more: Partial<Layer> = {}): Layer {
  return {
    name,
    group: 'convolutional',
    shape,
    minimum: 0,
    maximum: 1,
    mean: 0.5,
    zero_share: 0,
    view_px: null,
    step_px: null,
    sees_all: null,
    skip: false,
    skip_from: null,
    strongest: 0,
    thumbnail: '',
    ...more,
  };
}

/** Epochs 1, 2, 3 … with these scores; a training that never overfits unless `observations` say so. */
export function epochsOf(miou: (number | null)[], observations: Record<number, string> = {}): Epoch[] {
  return miou.map((value, i) => ({
    epoch: i + 1,
    loss: 1 / (i + 1),
    val_loss: value === null ? null : 1.1 / (i + 1),
    accuracy: value,
    miou: value,
    learning_rate: 1e-3,
    seconds: 1,
    images_per_second: 1,
    best: value !== null && miou.slice(0, i).every((before) => before === null || before < value),
    observation: observations[i + 1] ?? 'steady',
  }));
}

/** Numbers in [0, 1) that are the same in every run (Lehmer 1951). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}
