// A person's own images, kept in this browser alone, so that a reload, Back and Forward find them. Nothing is sent anywhere.

const KEPT = 24; // images, the latest
const [BASE, STORE] = ['pixelwise', 'images'];

/** What a model said about an image. */
export interface PhotoFacts {
  model: string;
  width: number;
  height: number;
  shares: { name: string; colour: [number, number, number]; share: number }[]; // the largest first
  confidence: number; // mean probability of the predicted class, 0–1
  miou: number | null; // against a true mask
  picture: Blob; // small, under its mask
}

export interface OwnImage {
  key: string;
  blob: Blob;
  name: string; // of its file; '' for a pasted one
  time: number; // ms since 1970
  facts?: PhotoFacts | undefined;
}

export const isOwn = (key: string) => key.startsWith('own-');
export const newKey = () => `own-${Date.now().toString(36)}${Math.floor(Math.random() * 1296).toString(36)}`;

function opened(): Promise<IDBDatabase> {
  return new Promise((done, failed) => {
    const asked = indexedDB.open(BASE, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: 'key' });
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error ?? new Error('IndexedDB'));
  });
}

function answered<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((done, failed) => {
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error ?? new Error('IndexedDB'));
  });
}

/** Keep an image, and forget the oldest beyond the latest few; what is known of it stays. Returns false where the
 * browser keeps nothing. */
export async function keepImage(image: OwnImage): Promise<boolean> {
  try {
    const base = await opened();
    const bytes = await image.blob.arrayBuffer(); // a File is a link to the disk, which may change
    const store = base.transaction(STORE, 'readwrite').objectStore(STORE);
    const before = (await answered(store.get(image.key))) as OwnImage | undefined;
    const facts = image.facts ?? before?.facts;
    await answered(store.put({ ...image, facts, blob: new Blob([bytes], { type: image.blob.type }) }));
    const all = (await answered(store.getAll())) as OwnImage[];
    for (const old of all.sort((p, q) => q.time - p.time).slice(KEPT)) await answered(store.delete(old.key));
    base.close();
    return true;
  } catch {
    return false; // private windows, a full disk: the page then says so
  }
}

/** All that are kept, the latest first; [] where the browser keeps nothing. */
export async function keptImages(): Promise<OwnImage[]> {
  try {
    const base = await opened();
    const all = (await answered(base.transaction(STORE).objectStore(STORE).getAll())) as OwnImage[];
    base.close();
    return all.sort((p, q) => q.time - p.time);
  } catch {
    return [];
  }
}

export async function forgetImage(key: string): Promise<void> {
  try {
    const base = await opened();
    await answered(base.transaction(STORE, 'readwrite').objectStore(STORE).delete(key));
    base.close();
  } catch {
    return; // nothing was kept
  }
}

export async function keptImage(key: string): Promise<OwnImage | null> {
  try {
    const base = await opened();
    const found = (await answered(base.transaction(STORE).objectStore(STORE).get(key))) as OwnImage | undefined;
    base.close();
    return found ?? null;
  } catch {
    return null;
  }
}
