import { afterEach, expect, it, vi } from 'vitest';
import { ImageList, PART } from '../src/label/imageList.svelte';

const TOTAL = 250;
let asked: string[] = [];

/** A server of 250 images; it answers when `answer` is called. */
function server(): { answer: () => Promise<void> } {
  let waiting: (() => void)[] = [];
  vi.stubGlobal('fetch', (address: string, { signal }: RequestInit) => {
    asked.push(address);
    const query = new URLSearchParams(address.split('?')[1]);
    const [offset, limit] = [Number(query.get('offset')), Number(query.get('limit'))];
    const names = Array.from({ length: TOTAL }, (_, i) => `${i}`).filter((id) =>
      id.includes(query.get('search') ?? ''),
    );
    const images = names.slice(offset, offset + limit).map((id) => ({ id, locked_by: id === '0' ? 'anna' : null }));
    return new Promise<Response>((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
      waiting.push(() => resolve(Response.json({ total: names.length, images })));
    });
  });
  return {
    async answer() {
      waiting.forEach((done) => done());
      waiting = [];
      await new Promise((done) => setTimeout(done));
    },
  };
}

const fails = (error: unknown) => expect.unreachable(String(error));

afterEach(() => {
  vi.unstubAllGlobals();
  asked = [];
});

it('fetches what comes into view, once', async () => {
  const { answer } = server();
  const list = new ImageList(fails);
  const started = list.restart();
  const shown = list.show(0, 20); // while the same images are on their way
  await answer();
  await Promise.all([started, shown]);
  expect(asked).toHaveLength(1);
  expect([list.total, list.row(3)?.id, list.row(PART + 3)]).toEqual([TOTAL, '3', undefined]);
  const more = list.show(95, 115);
  await answer();
  await more;
  expect(asked).toHaveLength(2);
  expect([list.row(PART + 3)?.id, list.indexOf(`${PART + 3}`), list.indexOf('none')]).toEqual([`${PART + 3}`, 103, -1]);
  expect(list.firstFree()).toBe(1);
});

it('shows the last search only', async () => {
  const { answer } = server();
  const list = new ImageList(fails);
  list.search = '1';
  const first = list.restart();
  list.search = '249';
  const second = list.restart();
  await answer();
  await Promise.all([first, second]);
  expect([list.total, list.row(0)?.id]).toEqual([1, '249']);
});

it('fetches over what is seen, and forgets what is not', async () => {
  const { answer } = server();
  const list = new ImageList(fails);
  const all = list.show(0, TOTAL);
  await answer();
  await all;
  asked = [];
  list.change('120', { state: 'done' });
  expect(list.row(120)?.state).toBe('done');
  const again = list.refresh(110, 130, 205);
  await answer();
  await again;
  expect(asked).toHaveLength(2);
  expect([list.row(0), list.row(120)?.state, list.row(205)?.id]).toEqual([undefined, undefined, '205']);
});
