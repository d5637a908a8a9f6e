// The one table of the labelling page's keys: the key handler looks keys up in it, and the sheet under `?` prints it.

import { TOOLS } from './canvas/tools';

export type Group = 'Images' | 'Classes' | 'Assistant' | 'Tools' | 'View' | 'Page';

export interface Shortcut {
  action: string;
  keys: string[]; // as `keyOf` writes them; each of them does it
  what: string;
  group: Group;
}

const PAGE: readonly Shortcut[] = [
  { action: 'next', keys: ['PageDown', '.'], what: 'next image', group: 'Images' },
  { action: 'previous', keys: ['PageUp', ','], what: 'previous image', group: 'Images' },
  { action: 'done-next', keys: ['Ctrl+Enter'], what: 'done, and on to the next image', group: 'Images' },
  { action: 'search', keys: ['/'], what: 'search images by name', group: 'Images' },
  ...Array.from({ length: 9 }, (_, i) => ({
    action: `class-${i + 1}`,
    keys: [`${i + 1}`],
    what: `draw with class ${i + 1}`,
    group: 'Classes' as const,
  })),
  { action: 'lock', keys: ['Shift+L'], what: 'lock or unlock the class: what has it cannot change', group: 'Classes' },
  { action: 'assistant', keys: ['Shift+A'], what: 'assistant on or off', group: 'Assistant' },
  { action: 'look', keys: ['Shift+N'], what: 'go to where the assistant is least sure', group: 'Assistant' },
  { action: 'accept', keys: ['Shift+Enter'], what: 'accept everything proposed', group: 'Assistant' },
  { action: 'accept-class', keys: ['Shift+C'], what: 'accept what is proposed as the class', group: 'Assistant' },
  { action: 'undo', keys: ['Ctrl+Z'], what: 'undo', group: 'Tools' },
  { action: 'redo', keys: ['Ctrl+Shift+Z', 'Ctrl+Y'], what: 'redo', group: 'Tools' },
  { action: 'panels', keys: ['Shift+F'], what: 'hide or show the panels', group: 'View' },
  { action: 'help', keys: ['?'], what: 'this list', group: 'Page' },
];

/** The keys of the page and of the tools. */
export const SHORTCUTS: readonly Shortcut[] = [
  ...PAGE,
  ...TOOLS.map(({ id, key, name, what }) => ({
    action: `tool-${id}`,
    keys: [key.toUpperCase()],
    what: `${name}: ${what}`,
    group: 'Tools' as const,
  })),
];

type Pressed = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>;

/** A key as the table writes it: "Ctrl+Shift+Z", "Shift+A", "b" as "B", "?". On a Mac, Command is Ctrl. */
export function keyOf({ key, ctrlKey, metaKey, altKey, shiftKey }: Pressed): string {
  const letter = /^\p{L}$/u.test(key);
  const name = letter ? key.toUpperCase() : key === ' ' ? 'Space' : key;
  const shown = key.length > 1 || letter || key === ' '; // a sign such as “?” says itself that Shift was held
  return [ctrlKey || metaKey ? 'Ctrl' : '', altKey ? 'Alt' : '', shiftKey && shown ? 'Shift' : '', name]
    .filter(Boolean)
    .join('+');
}

/** What a key does; null where it does nothing here. */
export function actionOf(event: Pressed, table: readonly Shortcut[] = SHORTCUTS): string | null {
  const key = keyOf(event);
  return table.find((row) => row.keys.includes(key))?.action ?? null;
}

/** Does an element take keys itself, because a person types there? */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement)
    return !['checkbox', 'radio', 'button', 'range', 'color', 'file'].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

/** The table for reading: rows that differ by a number alone become one. */
export function grouped(
  table: readonly Shortcut[] = SHORTCUTS,
): { group: Group; rows: { keys: string[]; what: string }[] }[] {
  const groups = [...new Set(table.map((row) => row.group))];
  return groups.map((group) => ({
    group,
    rows: table
      .filter((row) => row.group === group && !/^class-[2-9]$/.test(row.action))
      .map(({ action, keys, what }) =>
        action === 'class-1' ? { keys: ['1 – 9'], what: 'draw with the class of that number' } : { keys, what },
      ),
  }));
}
