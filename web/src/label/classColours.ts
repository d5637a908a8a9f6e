// Colours of classes that stay apart for everyone: distances are measured as people with full colour vision and with
// each kind of colour blindness see them, and the smallest counts.

export type Colour = [number, number, number]; // red, green, blue, 0–255

type Matrix = readonly [number, number, number, number, number, number, number, number, number];

// Machado, Oliveira & Fernandes 2009, severity 1, for linear red, green and blue.
const VISIONS: { name: string; matrix: Matrix }[] = [
  { name: 'full colour vision', matrix: [1, 0, 0, 0, 1, 0, 0, 0, 1] },
  {
    name: 'red blindness',
    matrix: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  },
  {
    name: 'green blindness',
    matrix: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  },
  {
    name: 'blue blindness',
    matrix: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
  },
];

export const TOO_CLOSE = 0.07; // in OKLab: below this, two areas side by side are easily confused; red and green are 0.04 apart

/** To choose from: Okabe and Ito's seven and nine more, each as far as could be found from all before it. */
export const PALETTE: Colour[] = [
  [0, 114, 178],
  [230, 159, 0],
  [0, 158, 115],
  [204, 121, 167],
  [240, 228, 66],
  [213, 94, 0],
  [86, 180, 233],
  [30, 30, 0],
  [75, 255, 255],
  [120, 60, 60],
  [0, 15, 165],
  [180, 195, 165],
  [165, 75, 255],
  [90, 0, 75],
  [165, 60, 120],
  [195, 255, 180],
];

function linear(value: number): number {
  const share = value / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

/** OKLab of a colour as one kind of vision sees it. */
function seen(colour: readonly number[], m: Matrix): [number, number, number] {
  const [r, g, b] = colour.map(linear) as Colour;
  const at = (row: number) => Math.max(0, m[row]! * r + m[row + 1]! * g + m[row + 2]! * b);
  const [x, y, z] = [at(0), at(3), at(6)];
  const l = Math.cbrt(0.4122214708 * x + 0.5363325363 * y + 0.0514459929 * z);
  const p = Math.cbrt(0.2119034982 * x + 0.6806995451 * y + 0.1073969566 * z);
  const s = Math.cbrt(0.0883024619 * x + 0.2817188376 * y + 0.6299787005 * z);
  return [
    0.2104542553 * l + 0.793617785 * p - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * p + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * p - 0.808675766 * s,
  ];
}

/** How far two colours are apart for those who tell them apart worst, and who that is. */
export function apart(one: readonly number[], other: readonly number[]): { distance: number; to: string } {
  let worst = { distance: Infinity, to: '' };
  for (const { name, matrix } of VISIONS) {
    const [p, q] = [seen(one, matrix), seen(other, matrix)];
    const distance = Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
    if (distance < worst.distance) worst = { distance, to: name };
  }
  return worst;
}

/** The class whose colour is too close to this one, for whom; null where all are far enough. */
export function tooClose<Row extends { colour: readonly number[] }>(
  colour: readonly number[],
  others: readonly Row[],
): { row: Row; to: string } | null {
  let nearest: { row: Row; to: string; distance: number } | null = null;
  for (const row of others) {
    const found = apart(colour, row.colour);
    if (found.distance < TOO_CLOSE && (!nearest || found.distance < nearest.distance)) nearest = { row, ...found };
  }
  return nearest;
}

/** The colour of the palette that is farthest from all in use. */
export function nextColour(used: readonly (readonly number[])[]): Colour {
  let best = PALETTE[0]!;
  let most = -1;
  for (const colour of PALETTE) {
    const least = Math.min(1, ...used.map((other) => apart(colour, other).distance));
    if (least > most) [best, most] = [colour, least];
  }
  return best;
}

export const hex = (colour: readonly number[]) =>
  `#${colour.map((value) => value.toString(16).padStart(2, '0')).join('')}`;

export function fromHex(text: string): Colour {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)) as Colour;
}
