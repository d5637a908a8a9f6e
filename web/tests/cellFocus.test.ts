import { describe, expect, it } from 'vitest';
import { cellBeside } from '../src/lib/cellFocus.svelte';

describe('arrow keys in a table of classes by classes', () => {
  it('go one cell on, and no further than the edge', () => {
    expect(cellBeside({ t: 0, p: 0 }, 'ArrowDown', 3)).toEqual({ t: 1, p: 0 });
    expect(cellBeside({ t: 0, p: 0 }, 'ArrowRight', 3)).toEqual({ t: 0, p: 1 });
    expect(cellBeside({ t: 0, p: 0 }, 'ArrowUp', 3)).toEqual({ t: 0, p: 0 });
    expect(cellBeside({ t: 2, p: 2 }, 'ArrowRight', 3)).toEqual({ t: 2, p: 2 });
    expect(cellBeside({ t: 2, p: 2 }, 'ArrowLeft', 3)).toEqual({ t: 2, p: 1 });
  });
  it('are the only keys that are taken', () => {
    expect(cellBeside({ t: 0, p: 0 }, 'Enter', 3)).toBeNull();
  });
});
