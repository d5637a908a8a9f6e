// The keyboard in a table of classes by classes: Tab reaches one cell, the arrow keys go from it to the others.

export interface Cell {
  t: number; // true class, the row
  p: number; // predicted class, the column
}

const STEPS: Record<string, [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

/** The cell beside one, as an arrow key goes; the same at an edge. null: another key. */
export function cellBeside({ t, p }: Cell, key: string, classes: number): Cell | null {
  const step = STEPS[key];
  if (!step) return null;
  const within = (value: number) => Math.min(Math.max(value, 0), classes - 1);
  return { t: within(t + step[0]), p: within(p + step[1]) };
}

/** Its cells are elements with `data-cell`, none of them disabled, that call `note` on focus. */
export class CellFocus {
  private at = $state.raw<Cell>({ t: 0, p: 0 });

  constructor(private readonly classes: () => number) {}

  tabindex = (t: number, p: number) => (this.at.t === t && this.at.p === p ? 0 : -1);

  note(cell: Cell): void {
    this.at = cell;
  }

  readonly move = (event: KeyboardEvent & { currentTarget: HTMLElement }): void => {
    const to = cellBeside(this.at, event.key, this.classes());
    if (!to) return;
    event.preventDefault();
    event.currentTarget.closest('table')?.querySelector<HTMLElement>(`[data-cell="${to.t},${to.p}"]`)?.focus();
  };
}
