// The rooms of the page: which one is open, and what it keeps in the address. A room has a file of its own, loaded when
// it is opened: rooms/NAME/NameRoom.svelte. Learn is the room whose address names no room.
//
// A room keeps its state in further keys of the address: read them from `room.keys`, change them with `room.keep`.

import type { Component } from 'svelte';
import { connection, isThere } from './connection.svelte';
import { parseRoom, writtenRoom, type Keys } from './roomAddress';

type Loaded = { default: Component };
const LOADERS = Object.fromEntries(
  Object.entries(import.meta.glob<Loaded>('../rooms/*/*Room.svelte')).map(([path, load]) => [
    path.split('/').at(-2)!,
    load,
  ]),
);

export const LEARN = 'learn';
export const LABEL = 'label'; // a page of its own
/** The doors of work, in their order. */
export const WORK = ['images', LABEL, 'train', 'evaluate', 'ship'].filter((name) => name === LABEL || name in LOADERS);
const HERE = WORK.filter((name) => name !== LABEL);

export const roomTitle = (name: string) => name[0]!.toUpperCase() + name.slice(1);
export const isLearn = (hash: string) => !parseRoom(hash, HERE).name;

/** A room's file. While the server is gone it waits; rejects where the file is not there any more. */
export async function load(name: string): Promise<Loaded> {
  try {
    return await LOADERS[name]!();
  } catch (error) {
    if (await isThere()) throw error;
    await connection.back();
    return LOADERS[name]!().catch(() => {
      location.reload(); // a browser may remember that the file did not arrive; the address keeps the rest
      return new Promise<Loaded>(() => undefined);
    });
  }
}

const STORED = 'pixelwise-rooms'; // the last address of each room in this tab

class OpenRoom {
  name = $state(LEARN);
  keys = $state.raw<Keys>({});
  private left: Record<string, string> = {};

  constructor() {
    try {
      this.left = JSON.parse(sessionStorage.getItem(STORED) ?? '{}') as Record<string, string>;
    } catch {
      this.left = {}; // written by another version
    }
    if (!location.pathname.startsWith('/label')) this.read(); // the label page's address is not a room's
  }

  /** Follow the address: at the start, and after Back, Forward or a link. */
  read(): void {
    const { name, keys } = parseRoom(location.hash, HERE);
    this.name = name || LEARN;
    if (JSON.stringify(keys) !== JSON.stringify(this.keys)) this.keys = keys;
    this.remember();
  }

  /** Change keys of the open room in the address. '' removes one. With `step`, Back undoes it. */
  keep(changed: Keys, step = false): void {
    const keys = Object.fromEntries(Object.entries({ ...this.keys, ...changed }).filter(([, value]) => value));
    const hash = writtenRoom(this.name, keys);
    if (this.name === LEARN || hash === location.hash) return;
    history[step ? 'pushState' : 'replaceState'](null, '', hash);
    this.keys = keys;
    this.remember();
  }

  /** The address of a room as it was left, for a link. With `keys`, its address with these. */
  link(name: string, keys?: Keys): string {
    if (name === LABEL) return '/label';
    if (keys) return writtenRoom(name, keys);
    return this.left[name] ?? (name === LEARN ? '#' : writtenRoom(name, {}));
  }

  /** Note how the open room is left, so that its door leads back to it. */
  remember(): void {
    this.left = { ...this.left, [this.name]: location.hash || '#' };
    try {
      sessionStorage.setItem(STORED, JSON.stringify(this.left));
    } catch {
      return; // a full or forbidden store: doors then lead to the beginning of a room after a reload
    }
  }
}

export const room = new OpenRoom();
