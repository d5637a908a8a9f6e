import { describe, expect, it } from 'vitest';
import { questions, type Question, type QuizFacts } from '../src/lib/quiz';
import { epochsOf, layerOf, predictionOf, modelOf } from './samples';

const stage = (shape: number[]) => ({ stage: '', shape, dtype: '', minimum: 0, maximum: 1, milliseconds: 1 });
// 12 pixels: six of class 0, four of class 1, two of class 2; the network works at 64 × 96.
const full: QuizFacts = {
  prediction: predictionOf('0000/0011/1122', 4),
  model: modelOf(),
  flow: [stage([3, 4, 3]), stage([64, 96, 3])],
  layers: [layerOf('fine', [8, 32, 48]), layerOf('coarse', [16, 4, 6])],
  wrongScale: { changed_share: 0.5, commonest: { class: 'class 3', share: 0.75 } },
  epochs: epochsOf([0.1, 0.4, 0.3]),
};

const ask = (facts: Partial<QuizFacts>) => questions({ ...full, ...facts });
const find = (all: Question[], id: string) => all.find((question) => question.id.startsWith(id));
const right = (question?: Question) => question?.options.filter((option) => option.right).map((option) => option.text);
const wrong = (question?: Question) => question?.options.filter((option) => !option.right).map((option) => option.text);

// What every quiz must be like, on images and models at the edge of what can be asked.
const edges: Record<string, Partial<QuizFacts>> = {
  full: {},
  'nothing but an image': { flow: null, layers: null, wrongScale: null, epochs: [] },
  'one class in the image': { prediction: predictionOf('0000', 4) },
  'a single pixel of a model with one class': {
    prediction: predictionOf('0', 1),
    layers: [layerOf('all', [1, 64, 96])],
  },
  'three classes, as many as colours': { prediction: predictionOf('012', 3) },
  'as large as the network’s input': { flow: [stage([3, 4, 3]), stage([3, 4, 3])] },
  'as many channels as positions': { layers: [layerOf('square', [16, 4, 6])] },
  'overfitting from the second epoch': { epochs: epochsOf([0.4, 0.3, 0.2], { 2: 'overfitting: stop here' }) },
  'overfitting in the middle': { epochs: epochsOf([0.2, 0.3, 0.2, 0.1], { 3: 'overfitting since epoch 1' }) },
  'no validation': { epochs: epochsOf([null, null, null]) },
  'every epoch alike': { epochs: epochsOf([0.4, 0.4, 0.4]) },
};

describe.each(Object.entries(edges))('a quiz of %s', (_, facts) => {
  const all = ask(facts);
  it('begins with the purpose, and no question comes twice', () => {
    expect(all[0]!.id).toBe('why');
    expect(new Set(all.map((question) => question.id)).size).toBe(all.length);
  });
  it('has one right answer to each question, beside wrong ones that read differently', () => {
    for (const { id, options } of all) {
      expect(options.filter((option) => option.right).length, id).toBe(1);
      expect(options.length, id).toBeGreaterThan(1);
      expect(new Set(options.map((option) => option.text)).size, id).toBe(options.length);
    }
  });
  it('gives a reason for every answer, and prints no missing number', () => {
    for (const { id, asks, options } of all) {
      for (const { text, because } of options) {
        expect(because.length, id).toBeGreaterThan(20);
        expect(`${asks} ${text} ${because}`, id).not.toMatch(/undefined|NaN|null|Infinity/);
      }
    }
  });
  it('is the same when it is asked again', () => {
    expect(ask(facts)).toEqual(all);
  });
});

describe('questions about the image', () => {
  it('know the rarest class, and what one label would get wrong', () => {
    expect(right(find(ask({}), 'rarest'))).toEqual(['class 2']);
    expect(right(find(ask({}), 'single'))).toEqual(['class 0, wrong for 50.0\u202f%']);
  });
  it('do not ask for the rarest of two, nor for the largest of one', () => {
    expect(find(ask({ prediction: predictionOf('001', 4) }), 'rarest')).toBeUndefined();
    expect(find(ask({ prediction: predictionOf('001', 4) }), 'single')).toBeDefined();
    expect(find(ask({ prediction: predictionOf('000', 4) }), 'single')).toBeUndefined();
  });
  it('offer no class as wrong that is as rare, or as large, as the right one', () => {
    expect(find(ask({ prediction: predictionOf('012', 4) }), 'rarest')).toBeUndefined();
    const two = ask({ prediction: predictionOf('00001122', 4) });
    expect([right(find(two, 'rarest')), wrong(find(two, 'rarest'))]).toEqual([['class 1'], ['class 0']]);
    const halves = find(ask({ prediction: predictionOf('0011', 4) }), 'single');
    expect(halves?.options.length).toBe(2);
  });
  it('know shapes: of the mask, of the network’s input, of a coarse layer', () => {
    expect(right(find(ask({}), 'mask'))).toEqual(['3 × 4']);
    expect(right(find(ask({}), 'input'))).toEqual(['64 × 96 × 3']);
    expect(right(find(ask({}), 'stride'))).toEqual(['16 × 16']);
  });
  it('do not ask for a size that did not change', () => {
    expect(find(ask({ flow: [stage([3, 4, 3]), stage([3, 4, 3])] }), 'input')).toBeUndefined();
  });
  it('count the maps of the scores, and drop a wrong answer that would be right', () => {
    expect(wrong(find(ask({ prediction: predictionOf('01', 5) }), 'maps'))?.sort()).toEqual(['1', '3']);
    expect(wrong(find(ask({ prediction: predictionOf('01', 3) }), 'maps'))).toEqual(['1']);
  });
  it('wait for what the server has yet to find out', () => {
    const early = ask({ flow: null, layers: null, wrongScale: null });
    for (const id of ['input', 'scale', 'stride']) expect(find(early, id), id).toBeUndefined();
  });
});

describe('questions about the training', () => {
  it('need three epochs', () => {
    expect(find(ask({ epochs: epochsOf([0.1, 0.2]) }), 'best')).toBeUndefined();
    expect(find(ask({ epochs: epochsOf([0.1, 0.2, 0.3]) }), 'best')).toBeDefined();
  });
  it('do not ask for the best epoch of a training that kept the last', () => {
    const epochs = epochsOf([0.1, 0.4, 0.3]).map((epoch) => ({ ...epoch, best: true }));
    expect(find(ask({ epochs }), 'best')).toBeUndefined();
  });
  it('know the best epoch, and call none wrong that is as good', () => {
    expect(right(find(ask({}), 'best'))).toEqual(['epoch 2']);
    const tied = find(ask({ epochs: epochsOf([0.4, 0.1, 0.4]) }), 'best');
    expect([right(tied), wrong(tied)]).toEqual([['epoch 1'], ['epoch 2']]);
    expect(find(ask({ epochs: epochsOf([0.4, 0.4, 0.4]) }), 'best')).toBeUndefined();
  });
  it('know where it overfitted, or that it never did', () => {
    expect(right(find(ask({}), 'overfit'))).toEqual(['at none']);
    const over = ask({ epochs: epochsOf([0.4, 0.3, 0.2], { 3: 'overfitting: validation loss rises' }) });
    expect(right(find(over, 'overfit'))).toEqual(['epoch 3']);
  });
  it('are not asked of a training without validation', () => {
    const blind = ask({ epochs: epochsOf([null, null, null]) });
    for (const id of ['best', 'overfit']) expect(find(blind, id), id).toBeUndefined();
  });
});
