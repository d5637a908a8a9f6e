import { expect, it } from 'vitest';
import { firstExample } from '../src/lib/patchExample';

const cells = (predicted: string, truth: string) =>
  [...predicted].map((one, i) => ({ predicted: +one, true: truth[i] === 'v' ? 255 : +truth[i]! }));

it('IoU is explained with a class that is partly right, before one that is right or wrong', () => {
  expect(firstExample(cells('0001122', '0001222'), [0, 1, 2])).not.toBe(0);
  expect(firstExample(cells('3000', '1000'), [1, 3, 0])).toBe(0); // 1 and 3 have an IoU of 0
  expect(firstExample(cells('10', 'vv'), [])).toBe(0);
});
