// The tools and the keys of the canvas, as the page lists them.

import type { Tool } from '../labelTypes';

export interface ToolFacts {
  id: Tool;
  name: string;
  key: string; // chooses it
  what: string;
}

export const TOOLS: readonly ToolFacts[] = [
  { id: 'brush', name: 'Brush', key: 'b', what: 'Paint pixels of the class.' },
  { id: 'eraser', name: 'Eraser', key: 'e', what: 'Make pixels “not labelled”.' },
  { id: 'scribble', name: 'Smart scribble', key: 's', what: 'Paint a few strokes; the assistant proposes the rest.' },
  {
    id: 'click',
    name: 'Smart click',
    key: 'c',
    what: 'Click an object; Shift or right click says what is not part of it.',
  },
  { id: 'polygon', name: 'Polygon', key: 'p', what: 'Click the corners; drag, add or delete them before Enter.' },
  { id: 'lasso', name: 'Lasso', key: 'l', what: 'Draw around an area; its corners can be moved before Enter.' },
  { id: 'rectangle', name: 'Rectangle', key: 'r', what: 'Drag from corner to corner.' },
  { id: 'flood', name: 'Flood fill', key: 'f', what: 'Fill connected pixels of like colour, within what is in sight.' },
  { id: 'superpixel', name: 'Superpixels', key: 'u', what: 'Fill small areas of like colour by clicking or dragging.' },
  { id: 'pan', name: 'Move', key: 'm', what: 'Move the image.' },
];

export interface CanvasKey {
  keys: string;
  what: string;
}

/** Keys that work while the canvas has the focus. */
export const CANVAS_KEYS: readonly CanvasKey[] = [
  { keys: '← ↑ → ↓', what: 'Move the cursor by a pixel; with Shift by ten' },
  { keys: 'Space', what: 'Brush down or up; a corner; a click; with Shift: a click on what is not part of the object' },
  { keys: 'Space + drag', what: 'Move the image' },
  { keys: 'Enter', what: 'Finish the polygon, or accept the object' },
  { keys: 'Escape', what: 'Cancel what was begun' },
  { keys: 'Backspace', what: 'Delete the corner at the cursor, or the last one' },
  { keys: 'i', what: 'Pick the class at the cursor; also Alt + click' },
  { keys: 'a', what: 'Accept the proposed region at the cursor' },
  { keys: '+ −', what: 'Zoom; the wheel zooms, too; 0 shows the whole image' },
  { keys: '[ ]', what: 'Smaller or larger brush; also Alt + wheel' },
  { keys: 'v', what: 'Show the photo alone, while held' },
  { keys: 'o', what: 'Outlines only, or areas' },
];
