// What was answered wrongly in quiz, exercises and challenge, kept in this browser alone: the cards that Review begins with.

import { recall, remember, type Card } from './cards';

export interface MissedCard extends Card {
  from: 'quiz' | 'exercise' | 'challenge';
  picture?: string; // a data URL that belongs to the question
}

const KEY = 'pixelwise-missed';
const MOST = 60; // cards, the latest

function stored(): MissedCard[] {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? '[]') as unknown;
    return Array.isArray(found) ? (found as MissedCard[]) : [];
  } catch {
    return []; // another page of this address wrote something else
  }
}

class Missed {
  cards = $state.raw<readonly MissedCard[]>(stored());

  /** Keep what was asked; missed again, it is due at once, however well it was known before. */
  add(card: MissedCard): void {
    this.cards = [...this.cards.filter((one) => one.id !== card.id), card].slice(-MOST);
    const memories = recall();
    delete memories[card.id];
    remember(memories);
    this.write();
  }

  remove(id: string): void {
    this.cards = this.cards.filter((one) => one.id !== id);
    this.write();
  }

  private write(): void {
    try {
      localStorage.setItem(KEY, JSON.stringify(this.cards));
    } catch {
      // the browser's room is full: they stay until the page is closed
    }
  }
}

export const missed = new Missed();
