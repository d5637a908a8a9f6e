// Whether the server is there. Whoever asked in vain waits here, and asks again when it is back.

/** Does the server respond at all? */
export async function isThere(): Promise<boolean> {
  return fetch('/healthz', { cache: 'no-store' }).then(
    (answer) => answer.ok,
    () => false,
  );
}

const EVERY_MS = 1000;

export class Connection {
  gone = $state(false);
  returns = $state(0); // how often it came back: pictures are loaded again
  private waiting: Promise<void> | null = null;

  constructor(
    private readonly there: () => Promise<boolean> = isThere,
    private readonly every: number = EVERY_MS,
  ) {}

  /** Resolves when the server responds again; one question a second, however many wait. */
  back(): Promise<void> {
    this.gone = true;
    return (this.waiting ??= this.poll());
  }

  private async poll(): Promise<void> {
    do await new Promise((done) => setTimeout(done, this.every));
    while (!(await this.there()));
    this.waiting = null;
    this.gone = false;
    this.returns++;
  }
}

export const connection = new Connection();

/** Do `work`; where it fails because the server is gone, wait and do it again. Only for questions: they change nothing. */
export async function untilAnswered<T>(
  work: () => Promise<T>,
  isGone: (error: unknown) => boolean,
  signal: AbortSignal | null = null,
  of: Connection = connection,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isGone(error)) throw error;
      await of.back();
      if (signal?.aborted) throw new DOMException('No longer wanted.', 'AbortError');
    }
  }
}
