// Photos and their masks by name, and what is known of photos as a table.

import type { OwnImage } from '../../lib/ownImages';

const MASK = /[-_. ](mask|masks|label|labels|gt|seg)$/i;
const stem = (name: string) => name.replace(/\.[^.]{1,5}$/, '');

/** The photo among `names` that a file is the mask of: “a_mask.png” is that of “a.jpg”. null: it is a photo itself. */
export function maskOf(name: string, names: readonly string[]): string | null {
  const photo = stem(name).replace(MASK, '');
  if (photo === stem(name)) return null;
  return names.find((other) => other !== name && stem(other) === photo) ?? null;
}

const quoted = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** A row a photo, a column a class, as CSV. */
export function sharesTable(images: readonly OwnImage[]): string {
  const known = images.filter((one) => one.facts);
  const classes = [...new Set(known.flatMap((one) => one.facts!.shares.map((row) => row.name)))].sort();
  const head = ['photo', 'width', 'height', 'model', 'confidence', 'miou', ...classes];
  const rows = known.map(({ name, facts }) => [
    name,
    String(facts!.width),
    String(facts!.height),
    facts!.model,
    facts!.confidence.toFixed(4),
    facts!.miou === null ? '' : facts!.miou.toFixed(4),
    ...classes.map((one) => (facts!.shares.find((row) => row.name === one)?.share ?? 0).toFixed(6)),
  ]);
  return [head, ...rows].map((row) => row.map(quoted).join(',')).join('\n') + '\n';
}
