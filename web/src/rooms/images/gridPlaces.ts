// Where the thumbnails of a grid lie, and which of them exist: those in view and a few rows around.

export interface Grid {
  columns: number;
  width: number; // px, of one thumbnail with its caption
  height: number; // px
  rows: number;
}

const GAP = 12; // px, between thumbnails
const CAPTION = 44; // px, below the picture
const AROUND = 2; // rows above and below the view

/** A grid of `total` thumbnails in a box `across` pixels wide, each about `wish` wide. */
export function gridOf(across: number, total: number, wish: number): Grid {
  const columns = Math.max(1, Math.floor((across + GAP) / (wish + GAP)));
  const width = Math.max((across - GAP * (columns - 1)) / columns, 1);
  return { columns, width, height: Math.round(width * 0.75) + CAPTION, rows: Math.ceil(total / columns) };
}

export const gridHeight = (grid: Grid) => Math.max(grid.rows * (grid.height + GAP) - GAP, 0);

/** The top left corner of a thumbnail, px. */
export function cornerOf(grid: Grid, index: number): { x: number; y: number } {
  const column = index % grid.columns;
  return { x: column * (grid.width + GAP), y: Math.floor(index / grid.columns) * (grid.height + GAP) };
}

/** The first thumbnail and the one after the last, for a grid of which the pixels `top` to `bottom` are seen. */
export function seenOf(grid: Grid, total: number, top: number, bottom: number): [number, number] {
  const step = grid.height + GAP;
  const first = Math.min(Math.max(0, Math.floor(top / step) - AROUND), Math.max(grid.rows - 1, 0));
  const last = Math.min(grid.rows, Math.max(Math.ceil(bottom / step) + AROUND, first + 1));
  return [Math.min(first * grid.columns, total), Math.min(last * grid.columns, total)];
}

/** Where a key leads from a thumbnail; null for other keys. */
export function stepOf(key: string, index: number, grid: Grid, total: number, rowsInView: number): number | null {
  const to = {
    ArrowRight: index + 1,
    ArrowLeft: index - 1,
    ArrowDown: index + grid.columns,
    ArrowUp: index - grid.columns,
    PageDown: index + grid.columns * rowsInView,
    PageUp: index - grid.columns * rowsInView,
    Home: 0,
    End: total - 1,
  }[key];
  return to === undefined ? null : Math.min(Math.max(to, 0), total - 1);
}
