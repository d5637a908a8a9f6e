// The address of a room: its name, and further keys in which it keeps its state. Learn's addresses name no room.

export type Keys = Readonly<Record<string, string>>;

/** The room that an address names, '' for Learn, and its keys. */
export function parseRoom(hash: string, known: readonly string[]): { name: string; keys: Keys } {
  const { room = '', ...keys } = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, '')));
  return known.includes(room) ? { name: room, keys } : { name: '', keys: {} };
}

export function writtenRoom(name: string, keys: Keys): string {
  const given = Object.entries(keys).filter(([, value]) => value);
  const written = new URLSearchParams([['room', name], ...given]);
  return `#${written.toString().replaceAll('%2C', ',').replaceAll('%2F', '/')}`;
}
