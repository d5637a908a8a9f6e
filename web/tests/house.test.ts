// Rules of the house that no linter keeps: short lines, short files, names that say what is inside without their folder.

import { expect, it } from 'vitest';

const sources = import.meta.glob<string>(
  ['../src/**/*.{ts,svelte,css}', './*.ts', '../*.{ts,js,json,html}', '!../package-lock.json'],
  { query: '?raw', import: 'default', eager: true },
);
const files = Object.entries(sources).map(([path, text]) => ({ path, lines: text.trimEnd().split('\n') }));

it('no line is longer than 140 characters', () => {
  const long = files.flatMap(({ path, lines }) =>
    lines.flatMap((line, i) => (line.length > 140 ? [`${path}:${i + 1}`] : [])),
  );
  expect(files.length).toBeGreaterThan(50);
  expect(long).toEqual([]);
});

it('no file is longer than 400 lines', () => {
  expect(files.filter(({ lines }) => lines.length > 400).map(({ path }) => path)).toEqual([]);
});

it('no two files share a name', () => {
  const names = files
    .filter(({ path }) => !path.endsWith('.test.ts')) // named after what they test
    .map(({ path }) => path.split('/').at(-1)!.split('.')[0]!.toLowerCase());
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});

it('no phrase that readers stumbled over comes back', () => {
  const phrases =
    /one plane a|network sees|numbers it takes|sees the whole|no second model|to look out for|course of training|mIoU there|commonest class/;
  const older =
    /evened out|to light|without a word|for want of|whole story|told three ways|gives? the same class|learns? from/;
  const newer =
    /as the model is right|Suppose nobody|scores every|>Keep:|from one value to the next|>Go on<|free of it|said no at/;
  const newest = /without up\d|on \d+ images of|too short a training|loaded model's run/;
  const found = files
    .filter(({ path }) => !path.startsWith('./'))
    .flatMap(({ path, lines }) =>
      lines.flatMap((line, i) =>
        [phrases, older, newer, newest].some((one) => one.test(line)) ? [`${path}:${i + 1}`] : [],
      ),
    );
  expect(found).toEqual([]);
});
