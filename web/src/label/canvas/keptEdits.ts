// Edits that the server does not have yet, in the browser's own database: a tab that is killed loses none of them.

import type { Edit } from '../labelTypes';

const NAME = 'pixelwise-label';
const STORE = 'edits';
const MOST_BYTES = 64 * 2 ** 20; // a larger edit is kept in the tab only

interface Kept {
  place: string; // folder and image
  order: number;
  edit: Edit;
}

let opened: Promise<IDBDatabase> | null = null;

function database(): Promise<IDBDatabase> {
  opened ??= new Promise((done, failed) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      const store = request.result.createObjectStore(STORE, { keyPath: 'edit.edit_id' });
      store.createIndex('place', 'place');
    };
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(new Error(request.error?.message ?? 'the browser has no database'));
  });
  return opened;
}

async function change<T>(mode: IDBTransactionMode, what: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const transaction = (await database()).transaction(STORE, mode, { durability: 'strict' });
  const request = what(transaction.objectStore(STORE));
  return new Promise((done, failed) => {
    transaction.oncomplete = () => done(request.result);
    transaction.onerror = transaction.onabort = () => failed(new Error(transaction.error?.message ?? 'not kept'));
  });
}

const placeOf = (folder: string, image: string) => `${folder}\n${image}`;

let count = 0;

/** False where it could not be kept: a private window, a full disk, or an edit that is too large. */
export async function keepEdit(folder: string, image: string, edit: Edit): Promise<boolean> {
  if (edit.values.length * 2 > MOST_BYTES) return false;
  const kept: Kept = { place: placeOf(folder, image), order: Date.now() * 1000 + (count++ % 1000), edit };
  return change('readwrite', (store) => store.put(kept)).then(
    () => true,
    () => false,
  );
}

export async function forgetEdit(editId: string): Promise<void> {
  await change('readwrite', (store) => store.delete(editId)).catch(() => undefined); // it would be sent again: harmless
}

/** What is kept of an image, oldest first. */
export async function keptEdits(folder: string, image: string): Promise<Edit[]> {
  const place = placeOf(folder, image);
  const found = await change<Kept[]>(
    'readonly',
    (store) => store.index('place').getAll(place) as IDBRequest<Kept[]>,
  ).catch(() => []);
  return found.sort((a, b) => a.order - b.order).map(({ edit }) => edit);
}
