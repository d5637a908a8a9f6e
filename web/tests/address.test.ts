import { describe, expect, it } from 'vitest';
import { isStep, parseAddress, writtenAddress } from '../src/lib/address';

const full = '#tab=layers&model=try-1&image=own-1a&slice=7&view=entropy&pixel=12,34&layer=up4&epoch=3&hidden=0,2';

describe('the address', () => {
  it('survives being read and written', () => {
    expect(writtenAddress(parseAddress(full))).toBe(full);
    expect(writtenAddress(parseAddress('#tab=why&at=1,2'))).toBe('#tab=why&at=1,2');
    expect(writtenAddress(parseAddress('#tab=pipeline&part=3'))).toBe('#tab=pipeline&part=3');
    expect(writtenAddress(parseAddress('#tab=pipeline&part=x'))).toBe('#tab=pipeline');
    expect(writtenAddress(parseAddress(''))).toBe('#');
  });
  it('tells a pinned pixel from one that only followed the pointer', () => {
    expect(parseAddress('#pixel=3,4')).toMatchObject({ pixel: { x: 3, y: 4 }, pinned: true });
    expect(parseAddress('#at=3,4')).toMatchObject({ pixel: { x: 3, y: 4 }, pinned: false });
  });
  it('takes nothing that is no pixel, epoch or class', () => {
    for (const wrong of ['#pixel=1', '#pixel=a,b', '#pixel=-1,2', '#pixel=1.5,2', '#pixel=,'])
      expect(parseAddress(wrong), wrong).toMatchObject({ pixel: null, pinned: false });
    for (const wrong of ['0', '-1', 'x', '1.5', '1e9', ''])
      expect(parseAddress(`#slice=${wrong}`).slice, wrong).toBe(0);
    expect(parseAddress('#epoch=-2&hidden=1,x,3')).toMatchObject({ epoch: null, hidden: [1, 3] });
  });
  it('makes a step of another tab, model or image, not of another pixel', () => {
    const from = parseAddress(full);
    for (const other of ['tab', 'model', 'image']) expect(isStep(from, { ...from, [other]: 'x' }), other).toBe(true);
    expect(isStep(from, { ...from, part: 2 })).toBe(true);
    expect(isStep(from, { ...from, part: 1 })).toBe(false); // the first part is where a tab opens
    expect(isStep(from, { ...from, pixel: null, view: '', layer: '', slice: 2, hidden: [], epoch: null })).toBe(false);
  });
});
