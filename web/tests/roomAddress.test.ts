import { describe, expect, it } from 'vitest';
import { parseRoom, writtenRoom } from '../src/lib/roomAddress';

const known = ['images', 'train'];

describe('the address of a room', () => {
  it('survives being read and written', () => {
    const address = '#room=train&run=try-1&folder=camvid/train';
    const { name, keys } = parseRoom(address, known);
    expect(name).toBe('train');
    expect(keys).toEqual({ run: 'try-1', folder: 'camvid/train' });
    expect(writtenRoom(name, keys)).toBe(address);
  });
  it('is an address of Learn where it names no room that there is', () => {
    for (const hash of ['', '#tab=why&at=1,2', '#room=nowhere', '#room=label'])
      expect(parseRoom(hash, known), hash).toEqual({ name: '', keys: {} });
  });
  it('leaves out what is empty', () => {
    expect(writtenRoom('train', { run: '', epoch: '3' })).toBe('#room=train&epoch=3');
  });
});
