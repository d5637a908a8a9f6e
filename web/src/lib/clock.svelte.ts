// A stopwatch in whole seconds.

export class Clock {
  seconds = $state(0);
  running = $state(false);
  private timer: ReturnType<typeof setInterval> | undefined;

  start(): void {
    this.stop();
    this.seconds = 0;
    this.running = true;
    const began = performance.now();
    this.timer = setInterval(() => (this.seconds = Math.floor((performance.now() - began) / 1000)), 250);
  }

  stop(): void {
    clearInterval(this.timer);
    this.running = false;
  }
}
