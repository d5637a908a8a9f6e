// What each action of the table of keys does.

import { session } from './canvas/session.svelte';
import { TOOLS } from './canvas/tools';
import { label } from './labelState.svelte';

/** Done, if there is an image; then the next one that is not. */
export async function doneAndNext(): Promise<void> {
  const { current } = label;
  if (!current || !session.image) return;
  if (!(await label.doing(null, () => session.setState('done').then(() => true)))) return;
  label.mark(current.id, { state: 'done' });
  await label.stepToOpen();
  void label.refresh();
}

/** By the actions' names; `page` has those of the page itself. */
export function actions(page: Record<'panels' | 'help', () => void>): Record<string, () => void> {
  const found: Record<string, () => void> = {
    ...page,
    next: () => void label.step(1),
    previous: () => void label.step(-1),
    'done-next': () => void doneAndNext(),
    search: () => document.getElementById('image-search')?.focus(),
    lock: () => {
      const row = label.class;
      if (row) void label.changeClasses({ op: 'lock', key: row.key, locked: !row.locked });
    },
    assistant: () => (session.showProposal = !session.showProposal),
    look: () => {
      const least = session.proposal?.leastSure;
      if (least) session.panTo(least);
      else session.say('Nothing is proposed yet.');
    },
    accept: () => session.accept('all'),
    'accept-class': () => session.accept({ key: session.key }),
    undo: () => session.undo(),
    redo: () => session.redo(),
  };
  for (let i = 0; i < 9; i++)
    found[`class-${i + 1}`] = () => {
      const row = label.classes[i];
      if (row) session.key = row.key;
      label.announcement = row ? `Class ${row.name}` : `There is no class ${i + 1}`;
    };
  for (const tool of TOOLS)
    found[`tool-${tool.id}`] = () => {
      session.tool = tool.id;
      label.announcement = tool.name;
    };
  return found;
}
