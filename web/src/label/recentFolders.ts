// The folders that were opened from this browser, the last one first.

const KEPT = 'pixelwise-label-folders';
const MOST = 6;

export function recent(): string[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEPT) ?? '[]');
    return Array.isArray(found) ? found.filter((one) => typeof one === 'string').slice(0, MOST) : [];
  } catch {
    return []; // written by something else
  }
}

export function remember(folder: string): void {
  localStorage.setItem(KEPT, JSON.stringify([folder, ...recent().filter((one) => one !== folder)].slice(0, MOST)));
}
