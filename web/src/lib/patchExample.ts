// The class with which IoU is explained first: one that is partly right, as 0 and 1 explain little.

export interface Cell {
  predicted: number;
  true: number; // 255 void
}

export function firstExample(cells: readonly Cell[], ids: readonly number[]): number {
  const labelled = cells.filter((cell) => cell.true !== 255);
  const interest = (id: number) => {
    const both = labelled.filter((cell) => cell.predicted === id && cell.true === id).length;
    const either = labelled.filter((cell) => cell.predicted === id || cell.true === id).length;
    if (!either) return -1;
    return both && both < either ? 2 + Math.min(both, either - both) : both / either; // partly right, else right, else wrong
  };
  return [...ids].sort((p, q) => interest(q) - interest(p))[0] ?? 0;
}
