// A card that is being edited, in this browser, until it is saved: a reload, a crash or a server that is gone lose nothing.

import { CARD_FIELDS, type CardField, type CardTexts } from './shipApi';

export interface CardDraft {
  texts: CardTexts;
  revision: string; // of the card that it began with
}

const NAMES = Object.keys(CARD_FIELDS) as CardField[];
const place = (model: string, digest: string) => `pixelwise-card-${model}-${digest}`;

export const sameTexts = (one: CardTexts, other: CardTexts) => NAMES.every((name) => one[name] === other[name]);

export function readDraft(model: string, digest: string): CardDraft | null {
  try {
    const found = JSON.parse(localStorage.getItem(place(model, digest)) ?? 'null') as Partial<CardDraft> | null;
    if (!found || typeof found.texts !== 'object' || typeof found.revision !== 'string') return null;
    const texts = found.texts as Partial<CardTexts>;
    return {
      texts: Object.fromEntries(NAMES.map((name) => [name, String(texts[name] ?? '')])) as CardTexts,
      revision: found.revision,
    };
  } catch {
    return null; // written by another version, or storage is forbidden
  }
}

/** Keep the draft; false where the browser does not. */
export function writeDraft(model: string, digest: string, draft: CardDraft): boolean {
  try {
    localStorage.setItem(place(model, digest), JSON.stringify(draft));
    return true;
  } catch {
    return false;
  }
}

export function dropDraft(model: string, digest: string): void {
  try {
    localStorage.removeItem(place(model, digest));
  } catch {
    return; // storage is forbidden: there is none
  }
}
