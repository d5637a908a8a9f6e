/// <reference lib="webworker" />
// Two services that a plain host of files lacks. The page works offline, from copies of what it loaded last; and its
// files carry the headers without which browsers allow no threads. The network comes first, so that nothing gets stale.

const worker = self as unknown as ServiceWorkerGlobalScope;
const KEPT = `pixelwise ${worker.registration.scope}`; // one host may hold the pages of several models
const OWN_PAGE = '<meta name="generator" content="Pixelwise web page"';

worker.addEventListener('install', () => void worker.skipWaiting());
worker.addEventListener('activate', (event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || !request.url.startsWith(worker.registration.scope)) return;
  event.respondWith(answerTo(request));
});

async function answerTo(request: Request): Promise<Response> {
  const kept = await caches.open(KEPT);
  let found: Response;
  try {
    found = await fetch(request);
  } catch (error) {
    const copy = await kept.match(request, { ignoreSearch: true });
    if (!copy) throw error;
    return isolated(copy);
  }
  if (request.mode === 'navigate' && !(await isOwn(found))) return found;
  if (found.status === 200) {
    const copy = found.clone();
    await kept.delete(request, { ignoreSearch: true });
    await kept.put(request, copy);
  }
  return isolated(found);
}

/** Another page at this address, such as another program on the same port of this machine, is none of our business. */
async function isOwn(answer: Response): Promise<boolean> {
  const own = (await answer.clone().text()).includes(OWN_PAGE);
  if (!own && answer.ok) await Promise.all([worker.registration.unregister(), caches.delete(KEPT)]);
  return own;
}

function isolated(answer: Response): Response {
  if (answer.type === 'opaque' || answer.type === 'opaqueredirect') return answer;
  const headers = new Headers(answer.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
