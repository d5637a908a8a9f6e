// Questions about an image that the server remembers, for a while, by a name that it gave.

import { untrack } from 'svelte';
import { Failure } from './api';
import { connection } from './connection.svelte';

const SENDS = 3; // where the server goes on forgetting it; one that was started again has forgotten everything

/** Ask by that name; where the server does not know it, `send` the image once more, which gives it another one. */
export async function askAbout<T>(
  known: string | null,
  send: () => Promise<string>,
  ask: (name: string) => Promise<T>,
): Promise<T> {
  let name = known ?? (await send());
  for (let sends = 0; ; sends++) {
    const returns = untrack(() => connection.returns); // no effect that asks depends on it
    try {
      return await ask(name);
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== 'image-unknown') throw error;
      if (sends >= SENDS && returns === connection.returns) throw error;
    }
    name = await send();
  }
}
