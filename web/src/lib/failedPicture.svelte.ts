// A picture of the server that could not be shown: it is asked for again once the server, if that was gone, is back.

import { connection, isThere } from './connection.svelte';

export class FailedPicture {
  private failed = $state.raw({ src: '', returns: 0 });

  /** The image's `onerror`. */
  note(src: string): void {
    this.failed = { src, returns: connection.returns };
    void isThere().then((there) => {
      if (!there) void connection.back();
    });
  }

  /** Is this the picture that failed, with no reason yet to try again? */
  is(src: string): boolean {
    return this.failed.src === src && this.failed.returns === connection.returns;
  }
}
