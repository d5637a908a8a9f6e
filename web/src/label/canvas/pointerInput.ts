// Mouse, pen and fingers → drawing, moving and zooming. One finger draws, two move and zoom; a pen keeps fingers out.

export interface Contact {
  id: number;
  kind: string; // mouse, pen or touch
  x: number; // CSS pixels from the canvas's corner
  y: number;
  pressure: number;
  time: number; // ms
}

export interface Gestures {
  press(at: Contact, negative: boolean): void;
  drag(to: readonly Contact[]): void;
  lift(): void;
  abandon(): void;
  move(dx: number, dy: number): void;
  zoom(factor: number, x: number, y: number): void;
}

const STILL_DRAWING_MS = 300; // a second finger within this time means that the first was not meant to draw

interface Finger {
  id: number;
  x: number;
  y: number;
}

export class PointerInput {
  mode: 'idle' | 'draw' | 'move' | 'pinch' = 'idle';
  private fingers: Finger[] = [];
  private owner = -1; // the pointer that draws or moves
  private kind = '';
  private since = 0;
  private last = { x: 0, y: 0 };

  constructor(private readonly to: Gestures) {}

  down(at: Contact, how: { moving: boolean; negative: boolean }): void {
    if (at.kind === 'touch') {
      if (this.kind === 'pen' && this.mode !== 'idle') return; // the palm
      this.fingers = [...this.fingers.filter(({ id }) => id !== at.id), { id: at.id, x: at.x, y: at.y }];
      if (this.fingers.length >= 2) {
        this.startPinch(at.time);
        return;
      }
    } else if (this.mode !== 'idle') {
      this.cancel(); // a pen while fingers are down: the pen is meant
      this.fingers = [];
    }
    this.owner = at.id;
    this.kind = at.kind;
    this.since = at.time;
    this.last = { x: at.x, y: at.y };
    this.mode = how.moving ? 'move' : 'draw';
    if (this.mode === 'draw') this.to.press(at, how.negative);
  }

  /** The places since the last event, oldest first. */
  move(places: readonly Contact[]): void {
    const at = places.at(-1);
    if (!at) return;
    if (this.mode === 'pinch') this.pinch(at);
    if (at.id !== this.owner) return;
    if (this.mode === 'draw') this.to.drag(places);
    if (this.mode === 'move') this.to.move(at.x - this.last.x, at.y - this.last.y);
    this.last = { x: at.x, y: at.y };
  }

  up(id: number): void {
    this.fingers = this.fingers.filter((finger) => finger.id !== id);
    if (this.mode === 'pinch' && this.fingers.length < 2) {
      this.mode = 'idle'; // the finger that is left neither draws nor moves
      this.owner = -1;
    }
    if (id !== this.owner) return;
    if (this.mode === 'draw') this.to.lift();
    this.mode = 'idle';
    this.owner = -1;
  }

  /** The browser took the pointer away. */
  cancel(id = this.owner): void {
    if (id === this.owner && this.mode === 'draw') {
      this.to.abandon();
      this.mode = 'idle';
      this.owner = -1;
    } else this.up(id);
  }

  private startPinch(time: number): void {
    if (this.mode === 'draw') {
      if (time - this.since < STILL_DRAWING_MS) this.to.abandon();
      else this.to.lift();
    }
    this.mode = 'pinch';
    this.owner = -1;
  }

  private pinch(at: Contact): void {
    const [a, b] = this.fingers;
    const finger = this.fingers.find(({ id }) => id === at.id);
    if (!a || !b || !finger || (finger !== a && finger !== b)) return;
    const middle = () => [(a.x + b.x) / 2, (a.y + b.y) / 2] as const;
    const apart = () => Math.max(Math.hypot(a.x - b.x, a.y - b.y), 1);
    const [before, distance] = [middle(), apart()];
    [finger.x, finger.y] = [at.x, at.y];
    const after = middle();
    this.to.move(after[0] - before[0], after[1] - before[1]);
    this.to.zoom(apart() / distance, ...after);
  }
}
