// Announces the pixel to screen readers: the one under the cursor, once it rests.

import { topClasses } from './scores';
import { app } from './state.svelte';

let later: ReturnType<typeof setTimeout>;

export function saySoon(): void {
  clearTimeout(later);
  later = setTimeout(() => {
    const { cursor, prediction } = app;
    if (!cursor || !prediction) return;
    const [best] = topClasses(prediction, cursor.x, cursor.y, 1);
    const found = app.concealed
      ? 'its label is hidden'
      : `${prediction.classes[best!.id]?.name}, probability ${best!.p.toFixed(2)}`;
    app.announcement = `Pixel ${cursor.x}, ${cursor.y}: ${found}${app.pinned ? ', pinned' : ''}`;
  }, 400);
}
