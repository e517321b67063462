import { describe, expect, it } from 'vitest';
import { YamuxHeaderWatch } from '../../../src/adapters/libp2p/bounded-yamux.ts';

const frameBytesMax = 1_000;

function frame(type: number, length: number, body: Uint8Array): Uint8Array {
  const header = new Uint8Array(12 + body.byteLength);
  header[1] = type;
  new DataView(header.buffer).setUint32(8, length);
  header.set(body, 12);
  return header;
}

const data = (length: number) => frame(0, length, new Uint8Array(length).fill(0xff));
const windowUpdate = frame(1, 2 ** 31, new Uint8Array(0));
const honest = new Uint8Array(Buffer.concat([data(1), windowUpdate, data(0), data(frameBytesMax), windowUpdate]));

describe('YamuxHeaderWatch', () => {
  it('lets honest frames pass, however they are cut', () => {
    for (const size of [1, 5, 12, 13, 100, 5_000]) {
      const watch = new YamuxHeaderWatch(frameBytesMax);
      for (let offset = 0; offset < honest.byteLength; offset += size) {
        expect(watch.admits(honest.subarray(offset, offset + size))).toBe(true);
      }
    }
  });

  it('refuses a data frame that says it is too long, at the last byte of its header', () => {
    const bytes = new Uint8Array(Buffer.concat([honest, frame(0, frameBytesMax + 1, new Uint8Array(0))]));
    const watch = new YamuxHeaderWatch(frameBytesMax);
    expect(watch.admits(bytes.subarray(0, -1))).toBe(true);
    expect(watch.admits(bytes.subarray(-1))).toBe(false);
  });
});
