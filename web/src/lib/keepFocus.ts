// Whoever works by keyboard keeps their place: where the focused element goes or is disabled, the focus does not fall
// back to the top of the page.

const FOCUSABLE =
  'a[href], button:not(:disabled), input:not(:disabled), select:not(:disabled), textarea:not(:disabled), summary, [tabindex]';

const PARTS = 'main, header, dialog';

/** Watch from now on, as long as the page lives. */
export function keepFocus(): void {
  let last: HTMLElement | null = null;
  let around: HTMLElement[] = []; // the elements that it is in, the innermost first
  const isThere = (one: HTMLElement) => one.isConnected && !one.matches(':disabled');

  document.addEventListener('focusin', ({ target }) => {
    last = target as HTMLElement;
    around = [];
    for (let one = last.parentElement; one && one !== document.body; one = one.parentElement) {
      around.push(one);
      if (one.matches(PARTS)) break; // not “Skip to content”, which lies outside of all
    }
  });
  document.addEventListener('focusout', ({ target }) => {
    setTimeout(() => {
      if (last && target === last && isThere(last)) last = null; // a person has left it
    });
  });
  new MutationObserver(() => {
    if (!last || document.activeElement !== document.body) return;
    if (isThere(last)) return last.focus({ preventScroll: true }); // it was disabled for a while
    const waits = last.isConnected && !last.closest('dialog'); // a dialog's keys work only from within
    if (!waits) nearest(around)?.focus({ preventScroll: true });
  }).observe(document.body, { subtree: true, childList: true, attributeFilter: ['disabled'] });
}

/** The first element that takes the focus in the innermost of these that has one; otherwise what the page holds now. */
function nearest(around: readonly HTMLElement[]): HTMLElement | null {
  for (const one of around) {
    if (!one.isConnected) continue;
    const found = [...one.querySelectorAll<HTMLElement>(FOCUSABLE)].find(
      (near) => near.tabIndex >= 0 && near.checkVisibility(),
    );
    if (found) return found;
  }
  return document.getElementById('content');
}
