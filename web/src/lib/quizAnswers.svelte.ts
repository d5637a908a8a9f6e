// The answers given in the quiz, kept over tabs and reloads in this browser alone. An answer is kept by its words.

const KEY = 'pixelwise-answers';
const MOST = 400; // answers, the latest

function stored(): Record<string, string> {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, string>;
  } catch {
    return {}; // another page of this address wrote something else
  }
}

class QuizAnswers {
  given = $state.raw<Record<string, string>>(stored());

  give(question: string, option: string): void {
    const others = Object.entries(this.given).filter(([id]) => id !== question);
    const all: [string, string][] = [...others, [question, option]];
    this.given = Object.fromEntries(all.slice(-MOST));
    localStorage.setItem(KEY, JSON.stringify(this.given));
  }

  forget(questions: readonly string[]): void {
    this.given = Object.fromEntries(Object.entries(this.given).filter(([id]) => !questions.includes(id)));
    localStorage.setItem(KEY, JSON.stringify(this.given));
  }
}

export const quizAnswers = new QuizAnswers();
