// The answers of a person before a repaired copy is written, kept over a reload in this tab.

import type { RepairAnswer, RepairQuestion } from './gallerySource';

const STORED = 'pixelwise-repair-';

export type Answers = Record<string, RepairAnswer>;

/** How each question begins: as the masks are read now, or with nothing chosen. */
export function firstAnswer(question: RepairQuestion): RepairAnswer {
  if (question.kind === 'values') return Object.fromEntries(question.values.map((row) => [row.value, row.name]));
  if (question.kind === 'yes') return false;
  if (question.kind === 'number') return 20;
  return question.required ? '' : (question.choices.at(-1)?.value ?? '');
}

export function storedAnswers(folder: string, questions: readonly RepairQuestion[]): Answers {
  let kept: Answers = {};
  try {
    kept = JSON.parse(sessionStorage.getItem(STORED + folder) ?? '{}') as Answers;
  } catch {
    kept = {}; // written by another version
  }
  return Object.fromEntries(questions.map((one) => [one.key, kept[one.key] ?? firstAnswer(one)]));
}

export function storeAnswers(folder: string, answers: Answers): void {
  try {
    sessionStorage.setItem(STORED + folder, JSON.stringify(answers));
  } catch {
    return; // a full or forbidden store: a reload then asks again
  }
}

/** The answers that say something: those that are not how the question began. */
export function toSend(questions: readonly RepairQuestion[], answers: Answers): Answers {
  const said = questions.filter(
    (one) => one.required || JSON.stringify(answers[one.key]) !== JSON.stringify(firstAnswer(one)),
  );
  return Object.fromEntries(said.map((one) => [one.key, answers[one.key]!]));
}

/** Required questions that have no answer yet. */
export const unanswered = (questions: readonly RepairQuestion[], answers: Answers) =>
  questions.filter((one) => one.required && one.kind === 'choice' && answers[one.key] === '');
