// What was answered wrongly becomes a card of the review, once each.

import { beforeEach, describe, expect, it, vi } from 'vitest';
import { besideTextbook } from '../src/lib/textbookEpochs';
import { epochsOf } from './samples';

const stored = new Map<string, string>();

beforeEach(() => {
  stored.clear();
  vi.stubGlobal('localStorage', {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => void stored.set(key, value),
  });
  vi.resetModules();
});

const cardOf = (id: string, front = id) => ({ id, front, back: 'because', from: 'quiz' as const });

describe('what was missed', () => {
  it('is one card for a question, however often it was missed, and the latest is kept', async () => {
    const { missed } = await import('../src/lib/missed.svelte');
    for (let i = 0; i < 70; i++) missed.add(cardOf(`q${i}`));
    missed.add(cardOf('q69', 'asked again'));
    expect(missed.cards.length).toBe(60);
    expect(missed.cards.at(-1)?.front).toBe('asked again');
    expect(missed.cards.filter((one) => one.id === 'q69').length).toBe(1);
    vi.resetModules();
    const again = (await import('../src/lib/missed.svelte')).missed; // as after a reload
    expect(again.cards.at(-1)?.front).toBe('asked again');
    again.remove('q69');
    expect(again.cards.length).toBe(59);
  });
  it('is due at once, however well it was known before', async () => {
    const { missed } = await import('../src/lib/missed.svelte');
    const { recall, remember } = await import('../src/lib/cards');
    remember({ q1: { box: 3, due: 9e15 }, q2: { box: 1, due: 5 } });
    missed.add(cardOf('q1'));
    expect(recall()).toEqual({ q2: { box: 1, due: 5 } });
  });
  it('survives what another page wrote under its name', async () => {
    stored.set('pixelwise-missed', '{"not": "a list"}');
    expect((await import('../src/lib/missed.svelte')).missed.cards).toEqual([]);
  });
});

describe('the textbook’s epochs', () => {
  it('stand beside those that this training reached', () => {
    const rows = besideTextbook(epochsOf([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]));
    expect(rows.map((row) => [row.epoch, row.own?.miou ?? null])).toEqual([
      [1, 0.1],
      [5, 0.5],
      [10, null],
      [15, null],
      [20, null],
    ]);
  });
});
