// The colour theme, shared with the page that explains the model.

export type Theme = 'system' | 'light' | 'dark';

const KEPT = 'pixelwise-theme';

export function keptTheme(): Theme {
  const kept = localStorage.getItem(KEPT);
  return kept === 'light' || kept === 'dark' ? kept : 'system';
}

export function showTheme(theme: Theme): void {
  const root = document.documentElement;
  if (theme === 'system') root.removeAttribute('data-theme');
  else root.dataset.theme = theme;
  localStorage.setItem(KEPT, theme);
}
