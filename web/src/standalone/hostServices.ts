// What the host of this page allows: threads need headers that few hosts send. A service worker adds them, and keeps the
// page for use offline; it needs https or localhost. Without it the page works all the same, on one thread.

const RELOADED = 'pixelwise-reloaded';
const CLAIM_MS = 1500;

/** May reload the page, once: its own headers are those that it was loaded with. */
export async function useServiceWorker(): Promise<void> {
  if (!('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register('./service-worker.js');
    await controlled();
    if (crossOriginIsolated || !navigator.serviceWorker.controller || sessionStorage.getItem(RELOADED)) return;
    sessionStorage.setItem(RELOADED, 'yes');
  } catch {
    return; // a browser that stores nothing, such as in a private window: nothing to tell, the page works
  }
  location.reload();
  await new Promise(() => undefined); // nothing is loaded twice
}

async function controlled(): Promise<void> {
  if (navigator.serviceWorker.controller) return;
  await new Promise<void>((done) => {
    navigator.serviceWorker.addEventListener('controllerchange', () => done(), { once: true });
    setTimeout(done, CLAIM_MS);
  });
}

export const threads = () => (crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1);

export const startNetwork = () => new Worker(new URL('./networkWorker.ts', import.meta.url), { type: 'module' });

/** The address of the folder that all files are in. */
export const ownFolder = () => new URL('.', location.href).href;
