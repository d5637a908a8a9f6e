// Whose training the page shows: that of the model that is loaded, not always the served one's.
import { expect, it, vi } from 'vitest';

vi.stubGlobal('localStorage', { getItem: () => null, setItem: () => undefined });
const { app } = await import('../src/lib/state.svelte');
const loaded = (name: string, has_run: boolean) => {
  app.model = { name, has_run } as NonNullable<typeof app.model>;
  return app.runName;
};

it('the run is that of the loaded model', () => {
  expect(loaded('main', true)).toBe('this-model');
  expect(loaded('second-try', true)).toBe('second-try');
  expect(loaded('main', false)).toBeNull();
});
