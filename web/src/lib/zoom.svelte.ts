// What part of the image is in sight, shared by all pictures of it: two models side by side are zoomed and moved as one.

const MOST = 16;

class Zoom {
  scale = $state(1);
  left = $state(0); // of the visible part, as a share of the image
  top = $state(0);

  reset(): void {
    this.scale = 1;
    this.left = this.top = 0;
  }

  /** Zoom so that the place (u, v) of the visible part, 0–1, stays where it is. */
  to(next: number, [u, v]: readonly [number, number] = [0.5, 0.5]): void {
    const before = this.scale;
    this.scale = Math.min(Math.max(next, 1), MOST);
    this.moveTo(this.left + u / before - u / this.scale, this.top + v / before - v / this.scale);
  }

  moveTo(left: number, top: number): void {
    const room = 1 - 1 / this.scale;
    this.left = Math.min(Math.max(left, 0), room);
    this.top = Math.min(Math.max(top, 0), room);
  }

  /** A place of the visible part, 0–1 → of the whole image, 0–1. */
  whole(u: number, v: number): [number, number] {
    return [this.left + u / this.scale, this.top + v / this.scale];
  }

  /** The inverse; may lie outside 0–1. */
  visible(x: number, y: number): [number, number] {
    return [(x - this.left) * this.scale, (y - this.top) * this.scale];
  }

  /** Keep a place of the whole image in sight, a tenth away from the edge. */
  follow(x: number, y: number): void {
    if (this.scale === 1) return;
    const edge = 0.1 / this.scale;
    const near = (at: number, start: number) => Math.min(Math.max(start, at + edge - 1 / this.scale), at - edge);
    this.moveTo(near(x, this.left), near(y, this.top));
  }
}

export const zoom = new Zoom();
