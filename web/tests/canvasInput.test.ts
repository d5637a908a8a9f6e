import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ActiveTime } from '../src/label/canvas/activeTime';
import { EditQueue } from '../src/label/canvas/editQueue';
import { PointerInput, type Contact } from '../src/label/canvas/pointerInput';
import { Failure } from '../src/lib/api';
import type { Edit, Patch, Progress } from '../src/label/labelTypes';

const draws = { moving: false, negative: false };
const at = (id: number, x: number, y: number, kind = 'touch', time = 0): Contact => ({
  ...{ id, kind, x, y, pressure: 1, time },
});

function input(): { pointers: PointerInput; log: string[] } {
  const log: string[] = [];
  const pointers = new PointerInput({
    press: (place, negative) => log.push(`press ${place.x},${place.y}${negative ? ' negative' : ''}`),
    drag: (to) => log.push(`drag ${to.map(({ x, y }) => `${x},${y}`).join(' ')}`),
    lift: () => log.push('lift'),
    abandon: () => log.push('abandon'),
    move: (dx, dy) => log.push(`move ${dx},${dy}`),
    zoom: (factor, x, y) => log.push(`zoom ${factor} at ${x},${y}`),
  });
  return { pointers, log };
}

describe('pointers', () => {
  it('one finger draws', () => {
    const { pointers, log } = input();
    pointers.down(at(1, 10, 10), draws);
    pointers.move([at(1, 11, 10), at(1, 12, 10)]);
    pointers.up(1);
    expect(log).toEqual(['press 10,10', 'drag 11,10 12,10', 'lift']);
    expect(pointers.mode).toBe('idle');
  });

  it('two fingers move and zoom, and what the first began is undone', () => {
    const { pointers, log } = input();
    pointers.down(at(1, 10, 10), draws);
    pointers.down(at(2, 30, 10, 'touch', 100), draws);
    pointers.move([at(2, 50, 10)]);
    pointers.up(2);
    pointers.move([at(1, 90, 90)]);
    pointers.up(1);
    expect(log).toEqual(['press 10,10', 'abandon', 'move 10,0', 'zoom 2 at 30,10']);
  });

  it('a stroke that has lasted is finished by a second finger', () => {
    const { pointers, log } = input();
    pointers.down(at(1, 10, 10), draws);
    pointers.down(at(2, 30, 10, 'touch', 1000), draws);
    expect(log).toEqual(['press 10,10', 'lift']);
  });

  it('a palm beside a pen does nothing', () => {
    const { pointers, log } = input();
    pointers.down(at(5, 1, 1, 'pen'), draws);
    pointers.down(at(6, 50, 50), draws);
    pointers.move([at(6, 60, 60)]);
    pointers.move([at(5, 2, 1, 'pen')]);
    pointers.up(6);
    pointers.up(5);
    expect(log).toEqual(['press 1,1', 'drag 2,1', 'lift']);
  });

  it('the middle button moves; a pointer that is taken away leaves nothing', () => {
    const { pointers, log } = input();
    pointers.down(at(1, 5, 5, 'mouse'), { moving: true, negative: false });
    pointers.move([at(1, 8, 9, 'mouse')]);
    pointers.up(1);
    pointers.down(at(1, 5, 5, 'mouse'), draws);
    pointers.cancel(1);
    pointers.up(1);
    expect(log).toEqual(['move 3,4', 'press 5,5', 'abandon']);
  });
});

it('time counts without the breaks', () => {
  const clock = new ActiveTime();
  clock.touch(1000);
  clock.touch(3000);
  expect(clock.take(3500)).toBe(2.5);
  expect(clock.take(3_600_000)).toBe(20);
});

describe('the way of edits to the server', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const edit = (id: string): Edit => ({
    ...{ edit_id: id, tool: 'brush', key: 1, seconds: 1, source: 'person', x: 0, y: 0, w: 1, h: 1 },
    values: Uint8Array.of(1),
    changed: Uint8Array.of(1),
  });

  function queue(send: (edit: Edit) => Promise<Progress>): { edits: EditQueue; log: string[] } {
    const log: string[] = [];
    const edits = new EditQueue({
      send: (one) => {
        log.push(`send ${one.edit_id}`);
        return send(one);
      },
      keep: (one) => Promise.resolve(void log.push(`keep ${one.edit_id}`)),
      forget: (id) => Promise.resolve(void log.push(`forget ${id}`)),
      progress: ({ version }) => log.push(`version ${version}`),
      patched: () => log.push('patched'),
      state: (saving, failure) => log.push(failure ? `${saving}: ${failure}` : saving),
      refused: (failure) => log.push(`refused: ${failure.message}`),
    });
    return { edits, log };
  }

  it('is in order, one at a time, undo included', async () => {
    let version = 0;
    const { edits, log } = queue(() => Promise.resolve({ version: ++version, undo: version, redo: 0 }));
    edits.push(edit('a'));
    edits.push(() => Promise.resolve({ version: 2, undo: 0, redo: 1 } as Patch & Progress));
    edits.push(edit('b'));
    await edits.settled();
    expect(log.filter((line) => !line.startsWith('keep') && !line.startsWith('forget'))).toEqual([
      ...['saving', 'send a', 'version 1', 'patched', 'send b', 'version 2', 'saved'],
    ]);
    expect(log).toContain('forget b');
  });

  it('is tried again under the same name while the server is away', async () => {
    let away = 2;
    const { edits, log } = queue(() =>
      away-- > 0
        ? Promise.reject(new Failure('offline', 'away', ''))
        : Promise.resolve({ version: 1, undo: 1, redo: 0 }),
    );
    edits.push(edit('a'));
    await vi.advanceTimersByTimeAsync(10);
    expect(log).toEqual(['keep a', 'saving', 'send a', 'unsaved: away']);
    expect(edits.pending).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(log.filter((line) => line === 'send a')).toHaveLength(3);
    expect(log.slice(-3)).toEqual(['forget a', 'version 1', 'saved']);
  });

  it('ends where the server refuses: said, and the next one goes on', async () => {
    const { edits, log } = queue((one) =>
      one.edit_id === 'a'
        ? Promise.reject(new Failure('edit-size', 'too large', '', 422))
        : Promise.resolve({ version: 1, undo: 1, redo: 0 }),
    );
    edits.push(edit('a'));
    edits.push(edit('b'));
    await edits.settled();
    expect(log).toContain('refused: too large');
    expect(log.at(-1)).toBe('saved');
  });

  it('does not repeat an undo, which may have happened', async () => {
    const { edits, log } = queue(() => Promise.resolve({ version: 1, undo: 1, redo: 0 }));
    let asked = 0;
    edits.push(() => {
      asked++;
      return Promise.reject(new Failure('offline', 'away', ''));
    });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(asked).toBe(1);
    expect(log).toContain('refused: away');
  });
});
