// What the folder of a model's web page says of its model: model.json, as `pixelwise export --web` writes it.

export interface ModelFile {
  title: string;
  file: string; // the bundle, beside this file
  bytes: number;
  digest: string; // SHA-256 of the network
  classes: { name: string; colour: [number, number, number] }[];
  temperature: number;
  size: [number, number]; // input of the network: height, width
  policy: string;
  max_pixels: number; // of an image that Pixelwise labels at once; it cuts larger ones into tiles
  licence: Record<string, string>;
  scores: { split: string; images: number; miou: number | null; accuracy: number | null } | null;
  golden: { image_png: string; labels_png: string }; // base64
  pixelwise: string; // its version
}

export interface Labelled {
  labels: Uint8Array<ArrayBuffer>; // [H, W]
  scores: Float32Array<ArrayBuffer>; // [C, h, w]
  width: number;
  height: number;
  h: number;
  w: number;
  milliseconds: number; // of the network
  picture: ImageBitmap; // the pixels that the network was given
  notes: string[]; // where the browser may have changed pixels
}

export type ToNetwork =
  | { kind: 'open'; model: ModelFile; threads: number; folder: string } // folder: the address of all files
  | { kind: 'label'; file: Blob; name: string };

export type FromNetwork =
  | { kind: 'progress'; what: string; share: number }
  | { kind: 'ready'; agreement: number; golden: Labelled }
  | { kind: 'labelled'; name: string; labelled: Labelled }
  | { kind: 'failed'; message: string; fatal: boolean };
