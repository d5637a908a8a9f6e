// Numbers and lists as text for people.

export function percent(share: number | null | undefined, digits?: number): string {
  if (share === null || share === undefined || Number.isNaN(share)) return '–';
  const value = share * 100;
  if (digits === undefined) digits = value === 0 || value >= 10 ? 0 : value >= 1 ? 1 : value < 0.1 ? 2 : 1;
  // “100 %” is all and “0 %” is none: what is nearly so has as many digits as it takes.
  while (digits < 4 && ((value < 100 && +value.toFixed(digits) === 100) || (value > 0 && +value.toFixed(digits) === 0)))
    digits++;
  return `${value.toFixed(digits)}\u202f%`; // a narrow space that does not break
}

export function number(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return value.toFixed(digits).replace('-', '−');
}

export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f'); // a narrow space that does not break, which no language reads as a decimal mark
}

/** A measurement of any size, to four digits: 0.01235, 12.35, 12 346. */
export function precise(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '–';
  return Math.abs(value) >= 1000 ? count(value) : String(Number(value.toPrecision(4)));
}

export function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

export function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export const shape = (sides: readonly number[]) => sides.join(' × ');

export function list(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words[words.length - 1]}`;
}

export const a = (word: string) => (/^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`);

export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

const SPLITS: Record<string, string> = {
  val: 'validation images',
  test: 'test images',
  train: 'training images',
  'val (before learning from it)': 'validation images, before they were added to training',
  'val (learnt from too)': 'validation images, also used for training',
};

/** The images that scores were measured on: “101 validation images”, or “9 images of north” for a split of another name. */
export function imagesOf({ images, split }: { images: number; split: string }): string {
  const name = split.replace(/[\s,]+$/, '');
  return `${count(images)} ${SPLITS[name] ?? `images of ${name}`}`;
}

/** A run's name; the page calls the one that belongs to the served model `this-model`. */
export const runTitle = (name: string) => (name === 'this-model' ? 'the served model’s run' : name);

/** “My photo.JPG” → “My-photo”; a sample by its title. */
export function stemOf(name: string): string {
  const stem = name.replace(/^.*[\\/]/, '').replace(/(\.nii)?\.[^.]{1,5}$/i, '');
  return stem.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|[-.]+$/g, '') || 'image';
}
