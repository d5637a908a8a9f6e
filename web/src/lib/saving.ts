// Downloads, named after the image that they belong to.

import { stemOf } from './format';
import { app } from './state.svelte';

/** “photo-mask.png” for `what` = “mask.png”; of a volume, “ct-slice-3-mask.png”. */
export function nameFor(what: string): string {
  const sample = app.samples.find((one) => one.name === app.sample);
  const slice = app.slices ? `-slice-${app.slices.number + 1}` : '';
  return `${stemOf(sample?.title ?? (app.fileName || 'pasted image'))}${slice}-${what}`;
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it after the click
}
