// Which rows of a long list exist: those in view, and a few around them.

export const ROW_PX = 60;
const AROUND = 6;

/** The first row and the one after the last, for a list scrolled to `top` in a box `high` pixels high. */
export function inView(top: number, high: number, total: number): [number, number] {
  const first = Math.min(Math.max(0, Math.floor(top / ROW_PX) - AROUND), total);
  return [first, Math.min(total, Math.ceil((top + high) / ROW_PX) + AROUND)];
}
