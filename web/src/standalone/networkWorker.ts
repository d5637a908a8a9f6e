// The network, in a worker, so that the page stays responsive: ONNX Runtime Web on the bundle, as it is.

import * as ort from 'onnxruntime-web/wasm';
import { decodePhoto, type Photo } from './decodePhoto';
import type { FromNetwork, Labelled, ModelFile, ToNetwork } from './modelFile';
import { pngIds } from './pngPixels';

let model: ModelFile;
let session: ort.InferenceSession;

const tell = (message: FromNetwork, transfer: Transferable[] = []) => self.postMessage(message, { transfer });

self.onmessage = async ({ data }: MessageEvent<ToNetwork>) => {
  try {
    if (data.kind === 'open') await open(data);
    else await label(data.file, data.name);
  } catch (error) {
    tell({ kind: 'failed', message: inWords(error), fatal: data.kind === 'open' });
  }
};

async function open({ model: described, threads, folder }: ToNetwork & { kind: 'open' }): Promise<void> {
  model = described;
  const [runtime, network] = await Promise.all([
    fetched(`${folder}onnxruntime.wasm.gz`, 0).then(unpacked),
    fetched(`${folder}${model.file}?${model.digest.slice(0, 16)}`, model.bytes, (share) =>
      tell({ kind: 'progress', what: 'Loading the model', share }),
    ),
  ]);
  ort.env.wasm.wasmBinary = runtime.buffer;
  ort.env.wasm.wasmPaths = { mjs: `${folder}onnxruntime.mjs` };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  tell({ kind: 'progress', what: 'Checking the model', share: 1 });
  session = await ort.InferenceSession.create(network, { executionProviders: ['wasm'] });
  const [image, expected] = [bytesOf(model.golden.image_png), await pngIds(bytesOf(model.golden.labels_png))];
  const golden = await labelled(await decodePhoto(new Blob([image]), 'the reference image', Infinity));
  let same = 0;
  expected.forEach((id, i) => (same += golden.labels[i] === id ? 1 : 0));
  tell({ kind: 'ready', agreement: same / expected.length, golden }, [golden.picture]);
}

async function label(file: Blob, name: string): Promise<void> {
  const found = await labelled(await decodePhoto(file, name, model.max_pixels));
  tell({ kind: 'labelled', name, labelled: found }, [found.picture, found.labels.buffer, found.scores.buffer]);
}

async function labelled({ rgb, width, height, notes }: Photo): Promise<Labelled> {
  const began = performance.now();
  const image = new ort.Tensor('uint8', rgb, [height, width, 3]);
  const { labels, scores } = await session.run({ image }, ['labels', 'scores']);
  const milliseconds = performance.now() - began;
  const [, h, w] = scores!.dims as [number, number, number];
  return {
    labels: Uint8Array.from(labels!.data as Uint8Array), // copies: what a run returns may lie in the network's memory
    scores: Float32Array.from(scores!.data as Float32Array),
    picture: await createImageBitmap(opaque(rgb, width, height)),
    ...{ width, height, h, w, milliseconds, notes },
  };
}

function opaque(rgb: Uint8Array, width: number, height: number): ImageData {
  const image = new ImageData(width, height);
  for (let from = 0, at = 0; from < rgb.length; from += 3, at += 4) {
    image.data[at] = rgb[from]!;
    image.data[at + 1] = rgb[from + 1]!;
    image.data[at + 2] = rgb[from + 2]!;
    image.data[at + 3] = 255;
  }
  return image;
}

async function fetched(
  url: string,
  total: number,
  progress?: (share: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) {
    const file = new URL(url).pathname.split('/').at(-1);
    throw new Error(`${file} could not be loaded. It must be in the same folder as this page. Reload to try again.`);
  }
  if (!answer.body || !progress) return new Uint8Array(await answer.arrayBuffer());
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let loaded = 0;
  const reader = answer.body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    parts.push(next.value);
    loaded += next.value.length;
    progress(Math.min(loaded / total, 1));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Hosts that know .gz send it with “Content-Encoding: gzip”, and the browser has unpacked it already. */
async function unpacked(file: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  if (file[0] !== 0x1f || file[1] !== 0x8b) return file;
  const stream = new Blob([file]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

function inWords(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (/memory|allocat|OrtRun/i.test(text))
    return 'This device has too little memory for an image of this size. Choose a smaller one, or crop it.';
  return text;
}
