import { describe, expect, it } from 'vitest';
import { PinnedCursor } from '../src/lib/pinnedCursor.svelte';
import { predictionOf } from './samples';

function cursorOn(rows: string): PinnedCursor {
  const cursor = new PinnedCursor();
  cursor.prediction = predictionOf(rows, 2);
  return cursor;
}

describe('the pixel cursor', () => {
  it('follows the pointer until a click pins it', () => {
    const one = cursorOn('0000/0000/0000');
    one.point(1, 1);
    expect(one.cursor).toEqual({ x: 1, y: 1 });
    one.click(2, 1);
    one.point(3, 2);
    expect([one.cursor, one.pinned, one.pointer]).toEqual([{ x: 2, y: 1 }, true, { x: 3, y: 2 }]);
  });
  it('is freed by a second click on it, and moved by a click elsewhere', () => {
    const one = cursorOn('0000/0000/0000');
    one.click(2, 1);
    one.click(0, 0);
    expect([one.cursor, one.pinned]).toEqual([{ x: 0, y: 0 }, true]);
    one.click(0, 0);
    expect(one.pinned).toBe(false);
    one.click(1, 1);
    one.click(2, 1, 1); // on a large image, a click one pixel off is a click on it
    expect(one.pinned).toBe(false);
  });
  it('goes back to the pointer when it is freed', () => {
    const one = cursorOn('0000/0000/0000');
    one.click(2, 1);
    one.point(3, 2);
    one.free();
    expect(one.cursor).toEqual({ x: 3, y: 2 });
  });
  it('stays inside the image, and does nothing without one', () => {
    const one = cursorOn('00/00');
    one.pin(9, -3);
    expect(one.cursor).toEqual({ x: 1, y: 0 });
    const none = new PinnedCursor();
    none.point(1, 1);
    expect(none.cursor).toBeNull();
  });
});
