import { describe, expect, it } from 'vitest';
import { Connection, untilAnswered } from '../src/lib/connection.svelte';

const Gone = new Error('gone');
const isGone = (error: unknown) => error === Gone;

describe('a server that goes', () => {
  it('is asked again by all who waited, once it is back', async () => {
    let [up, pings] = [false, 0];
    const of = new Connection(() => Promise.resolve(++pings >= 3 && (up = true)), 1);
    const asked = [0, 0];
    const ask = (i: number) =>
      untilAnswered(
        () => {
          asked[i]!++;
          return up ? Promise.resolve(i) : Promise.reject(Gone);
        },
        isGone,
        null,
        of,
      );
    const both = Promise.all([ask(0), ask(1)]);
    await Promise.resolve();
    await Promise.resolve();
    expect(of.gone).toBe(true);
    expect(await both).toEqual([0, 1]);
    expect([of.gone, of.returns, pings, ...asked]).toEqual([false, 1, 3, 2, 2]);
  });
  it('keeps nobody who no longer wants the answer, and hides no other error', async () => {
    const of = new Connection(() => Promise.resolve(true), 1);
    const abort = new AbortController();
    abort.abort();
    const gone = () => Promise.reject(Gone);
    await expect(untilAnswered(gone, isGone, abort.signal, of)).rejects.toThrow('No longer wanted');
    await expect(untilAnswered(() => Promise.reject(new Error('other')), isGone, null, of)).rejects.toThrow('other');
  });
});
