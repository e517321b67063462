import { describe, expect, it } from 'vitest';
import { grantInSteps, YamuxHeaderWatch } from '../../../src/adapters/libp2p/bounded-yamux.ts';

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

describe('grantInSteps', () => {
  /** What yamux's specification has every sender start with, however large the receiver's window is. */
  const initialBytes = 256 * 1024;
  const windowBytes = 2 * 1024 * 1024;

  /** A stream as yamux has it: what it received is used of its window until it grants that again. */
  class ReceivingStream {
    readonly recvWindow = windowBytes;
    recvWindowCapacity = windowBytes;
    readonly granted: number[] = [];

    receive(bytes: number): void {
      this.recvWindowCapacity -= bytes;
      this.sendWindowUpdate();
    }

    sendWindowUpdate(): void {
      this.granted.push(this.recvWindow - this.recvWindowCapacity);
      this.recvWindowCapacity = this.recvWindow;
    }
  }

  it('takes a stream at once, and then gives back 64 KiB at a time', () => {
    const stream = new ReceivingStream();
    grantInSteps(stream);
    stream.receive(1);
    expect(stream.granted).toEqual([1]);
    for (let message = 0; message < 128; message += 1) stream.receive(2 * 1024);
    expect(stream.granted).toEqual([1, 65_536, 65_536, 65_536, 65_536]);
  });

  it('never leaves a sender without room that started with the smallest window', () => {
    const stream = new ReceivingStream();
    grantInSteps(stream);
    let room = initialBytes;
    for (let message = 0; message < 1_000; message += 1) {
      const bytes = Math.min(room, 1 + ((message * 7_919) % 100_000));
      stream.receive(bytes);
      room += stream.granted.splice(0).reduce((sum, granted) => sum + granted, 0) - bytes;
      expect(room).toBeGreaterThan(initialBytes / 2);
    }
  });

  it('gives back all of a window that was used at once', () => {
    const stream = new ReceivingStream();
    grantInSteps(stream);
    stream.receive(windowBytes);
    stream.receive(windowBytes);
    expect(stream.granted).toEqual([windowBytes, windowBytes]);
  });
});
