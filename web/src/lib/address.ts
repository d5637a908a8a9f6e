// The page's address: what a person chose, as a reload, a bookmark, Back and Forward need it.

export interface Address {
  tab: string;
  part: number; // of a tab that has parts, from 1; 0 the first
  model: string; // '' the served one
  image: string; // a sample's name, or the key of one's own image in this browser
  slice: number; // of a volume, from 1; 0 for the one that is shown first, and for an image
  view: string; // display; '' the mask
  pixel: { x: number; y: number } | null;
  pinned: boolean;
  layer: string;
  epoch: number | null;
  hidden: number[]; // class ids
}

export function parseAddress(hash: string): Address {
  const asked = new URLSearchParams(hash.replace(/^#/, ''));
  const text = (name: string) => asked.get(name) ?? '';
  const pinned = text('pixel') !== '';
  const [x, y] = (text('pixel') || text('at')).split(',').map((part) => (/^\d+$/.test(part) ? Number(part) : NaN));
  const there = x !== undefined && y !== undefined && !Number.isNaN(x) && !Number.isNaN(y);
  const epoch = Number(text('epoch'));
  return {
    tab: text('tab'),
    part: /^[1-9]$/.test(text('part')) ? Number(text('part')) : 0,
    model: text('model'),
    image: text('image'),
    slice: /^[1-9]\d{0,5}$/.test(text('slice')) ? Number(text('slice')) : 0,
    view: text('view'),
    pixel: there ? { x, y } : null,
    pinned: there && pinned,
    layer: text('layer'),
    epoch: Number.isInteger(epoch) && epoch > 0 ? epoch : null,
    hidden: text('hidden')
      .split(',')
      .filter((part) => /^\d+$/.test(part))
      .map(Number),
  };
}

/** A pinned pixel is written as pixel=, one that follows the pointer as at=. */
export function writtenAddress(of: Address): string {
  const place = of.pixel ? `${of.pixel.x},${of.pixel.y}` : '';
  const written = new URLSearchParams();
  const put = (name: string, value: string) => value && written.set(name, value);
  put('tab', of.tab);
  put('part', of.part > 1 ? String(of.part) : '');
  put('model', of.model);
  put('image', of.image);
  put('slice', of.slice ? String(of.slice) : '');
  put('view', of.view);
  put(of.pinned ? 'pixel' : 'at', place);
  put('layer', of.layer);
  put('epoch', of.epoch ? String(of.epoch) : '');
  put('hidden', of.hidden.join(','));
  return `#${written.toString().replaceAll('%2C', ',')}`;
}

/** Is the step from one address to the other one that Back should undo? Another room, model or image; not a pixel. */
export const isStep = (from: Address, to: Address) =>
  from.tab !== to.tab || (from.part || 1) !== (to.part || 1) || from.model !== to.model || from.image !== to.image;
