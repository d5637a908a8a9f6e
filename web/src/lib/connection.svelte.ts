// Whether the server is there, and takes this browser's token. Whoever asked in vain waits here, and asks again.

/** Does the server respond at all? */
export async function isThere(): Promise<boolean> {
  return fetch('/healthz', { cache: 'no-store' }).then(
    (answer) => answer.ok,
    () => false,
  );
}

/** Does this browser have the server's token? It is in a cookie, which every tab of the browser shares. */
export async function hasToken(): Promise<boolean> {
  return fetch('/v1/training', { cache: 'no-store' }).then(
    async (answer) => answer.ok && ((await answer.json()) as { proven: boolean }).proven,
    () => false,
  );
}

const EVERY_MS = 1000;

/** Asks once every so often until the answer is yes; one question at a time, however many wait. */
class Wait {
  on = $state(false);
  private waiting: Promise<void> | null = null;

  constructor(
    private readonly question: () => Promise<boolean>,
    private readonly every: number,
    private readonly over: () => void,
  ) {}

  until(): Promise<void> {
    this.on = true;
    return (this.waiting ??= this.poll());
  }

  private async poll(): Promise<void> {
    do await new Promise((done) => setTimeout(done, this.every));
    while (!(await this.question()));
    this.waiting = null;
    this.on = false;
    this.over();
  }
}

export class Connection {
  returns = $state(0); // how often it came back: pictures are loaded again
  private readonly presence: Wait;
  private readonly rights: Wait;

  constructor(there: () => Promise<boolean> = isThere, every = EVERY_MS, allowed: () => Promise<boolean> = hasToken) {
    const over = () => void this.returns++;
    this.presence = new Wait(there, every, over);
    this.rights = new Wait(allowed, every, over);
  }

  get gone(): boolean {
    return this.presence.on;
  }

  /** The server is there, but needs a token that this browser has not: it was started again, perhaps. */
  get locked(): boolean {
    return this.rights.on && !this.presence.on;
  }

  /** Resolves when the server responds again. */
  back(): Promise<void> {
    return this.presence.until();
  }

  /** Resolves when this browser has the token. */
  unlocked(): Promise<void> {
    return this.rights.until();
  }
}

export const connection = new Connection();

/**
 * Do `work`; where it fails because the server is gone, or does not know this browser, wait and do it again. Only for
 * questions: they change nothing.
 */
export async function untilAnswered<T>(
  work: () => Promise<T>,
  isGone: (error: unknown) => boolean,
  signal: AbortSignal | null = null,
  of: Connection = connection,
  isLocked: (error: unknown) => boolean = () => false,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isGone(error)) throw error;
      await (isLocked(error) ? of.unlocked() : of.back());
      if (signal?.aborted) throw new DOMException('No longer wanted.', 'AbortError');
    }
  }
}
