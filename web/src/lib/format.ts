// Numbers as people read them. Every number is said with what it is of.

export function percent(share: number | null | undefined, digits?: number): string {
  if (share === null || share === undefined || Number.isNaN(share)) return '–';
  const value = share * 100;
  if (digits === undefined) digits = value === 0 || value >= 10 ? 0 : value >= 1 ? 1 : value < 0.1 ? 2 : 1;
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

const SPLITS: Record<string, string> = { val: 'validation', test: 'test', train: 'training' };

/** The images that scores were measured on: “101 validation images”, or “101 images of val, learnt from too”. */
export function imagesOf({ images, split }: { images: number; split: string }): string {
  const told = split.replace(/[\s,]+$/, '');
  const known = SPLITS[told];
  return known ? `${count(images)} ${known} images` : `${count(images)} images of ${told}`;
}
