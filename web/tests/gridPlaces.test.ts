import { expect, it } from 'vitest';
import { cornerOf, gridHeight, gridOf, seenOf, stepOf } from '../src/rooms/images/gridPlaces';
import { isFiltered, queryOf, timeLeft } from '../src/rooms/images/imageFilter';
import { maskOf, sharesTable } from '../src/rooms/images/photoNames';
import { firstAnswer, toSend, unanswered } from '../src/rooms/images/repairAnswers';

it('every thumbnail lies in the grid, and those in view exist', () => {
  const total = 5000;
  for (const across of [320, 1318, 1880]) {
    const grid = gridOf(across, total, 176);
    const last = cornerOf(grid, total - 1);
    expect(last.y + grid.height).toBeCloseTo(gridHeight(grid));
    expect(cornerOf(grid, grid.columns - 1).x + grid.width).toBeLessThanOrEqual(across + 0.001);
    for (const top of [-400, 0, 12345, gridHeight(grid) - 300, gridHeight(grid) + 5000]) {
      const [first, end] = seenOf(grid, total, top, top + 900);
      expect(end - first).toBeLessThan(grid.columns * (Math.ceil(900 / grid.height) + 6));
      expect(first).toBeGreaterThanOrEqual(0);
      expect(end).toBeLessThanOrEqual(total);
      const inside = Array.from({ length: total }, (_, i) => i).filter((i) => {
        const { y } = cornerOf(grid, i);
        return y < top + 900 && y + grid.height > top;
      });
      for (const index of inside) expect(index >= first && index < end).toBe(true);
    }
  }
  expect(seenOf(gridOf(800, 0, 176), 0, 0, 900)).toEqual([0, 0]);
});

it('arrow keys walk the grid and stay inside', () => {
  const grid = gridOf(4 * 188, 10, 176);
  expect(grid.columns).toBe(4);
  expect(stepOf('ArrowDown', 1, grid, 10, 2)).toBe(5);
  expect(stepOf('ArrowDown', 8, grid, 10, 2)).toBe(9);
  expect(stepOf('ArrowUp', 1, grid, 10, 2)).toBe(0);
  expect(stepOf('End', 1, grid, 10, 2)).toBe(9);
  expect(stepOf('PageDown', 0, grid, 10, 2)).toBe(8);
  expect(stepOf('a', 1, grid, 10, 2)).toBe(null);
});

it('the address becomes the query of the server', () => {
  const keys = { data: 'street', split: 'val', class: '3', below: '0.5', order: 'worst', image: '7' };
  expect(queryOf(keys)).toEqual({ split: 'val', class_id: '3', score_below: '0.5', order: 'worst' });
  expect([isFiltered(keys), isFiltered({ order: 'worst', data: 'street' })]).toEqual([true, false]);
  expect([timeLeft(null), timeLeft(3), timeLeft(47), timeLeft(200)]).toEqual([
    '',
    'a few seconds left',
    '45 s left',
    '3 min left',
  ]);
});

it('only answers that say something are sent', () => {
  const question = {
    key: 'drop_copies',
    kind: 'yes',
    question: '',
    about: [],
    required: false,
    choices: [],
    values: [],
  } as const;
  const values = { ...question, key: 'values', kind: 'values' as const, values: [{ value: '0', share: 1, name: 'a' }] };
  const masks = {
    ...question,
    key: 'masks',
    kind: 'choice' as const,
    required: true,
    choices: [{ value: 'x', words: 'x' }],
  };
  const asked = [question, values, masks].map((one) => ({
    ...one,
    about: [],
    choices: [...one.choices],
    values: [...one.values],
  }));
  const begun = Object.fromEntries(asked.map((one) => [one.key, firstAnswer(one)]));
  expect(unanswered(asked, begun).map((one) => one.key)).toEqual(['masks']);
  const answers = { ...begun, masks: 'x', values: { '0': 'b' } };
  expect(toSend(asked, answers)).toEqual({ masks: 'x', values: { '0': 'b' } });
  expect(unanswered(asked, answers)).toEqual([]);
});

it('a mask is known by its photo’s name, and the table has a column a class', () => {
  const names = ['a.jpg', 'a_mask.png', 'b.png', 'c-gt.png'];
  expect(names.map((name) => maskOf(name, names))).toEqual([null, 'a.jpg', null, null]);
  const facts = {
    model: 'main', width: 4, height: 3, confidence: 0.9, miou: null, picture: new Blob(),
    shares: [{ name: 'road, wet', colour: [0, 0, 0] as [number, number, number], share: 0.25 }],
  }; // prettier-ignore
  const image = { key: 'own-1', blob: new Blob(), name: 'a.jpg', time: 0 };
  expect(sharesTable([{ ...image, facts }, image])).toBe(
    'photo,width,height,model,confidence,miou,"road, wet"\na.jpg,4,3,main,0.9000,,0.250000\n',
  );
});
