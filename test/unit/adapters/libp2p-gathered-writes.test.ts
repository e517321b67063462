import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { gatherWrites, type SocketWrites } from '../../../src/adapters/libp2p/socket-writes.ts';

/** A socket that tells how many bytes left with each system call. */
function socket(): { readonly written: number[]; readonly bytes: Buffer[]; readonly stream: Writable } {
  const written: number[] = [];
  const bytes: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.length);
      bytes.push(chunk);
      done();
    },
    writev(chunks, done) {
      const pieces = chunks.map(({ chunk }) => chunk as Buffer);
      written.push(Buffer.concat(pieces).length);
      bytes.push(...pieces);
      done();
    },
  });
  gatherWrites(stream, () => 0);
  return { written, bytes, stream };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what is written in one turn leaves together, in its order', async () => {
  const { written, bytes, stream } = socket();
  for (const piece of ['a', 'bc', 'def']) stream.write(Buffer.from(piece));
  await Promise.resolve();
  stream.write(Buffer.from('g'));
  expect(written).toEqual([]);
  await nextTurn();
  expect(written).toEqual([7]);
  expect(Buffer.concat(bytes).toString()).toBe('abcdefg');
  stream.write(Buffer.from('h'));
  await nextTurn();
  expect(written).toEqual([7, 1]);
});

test('what is long leaves at once and by itself, after what came before it', async () => {
  const { written, stream } = socket();
  stream.write(Buffer.from('header'));
  stream.write(Buffer.alloc(100_000));
  expect(written).toEqual([6, 100_000]);
  stream.write(Buffer.from('more'));
  await nextTurn();
  expect(written).toEqual([6, 100_000, 4]);
});

test('an end lets what was gathered go first', async () => {
  const { written, stream } = socket();
  stream.write(Buffer.from('last words'));
  stream.end();
  await nextTurn();
  expect(written).toEqual([10]);
});

/** A socket that ends a write when it is told to, with or without an error. */
function slowSocket(): {
  readonly stream: Writable;
  readonly writes: SocketWrites;
  hold(sizeBytes: number): void;
  end(error?: Error): Promise<void>;
} {
  let heldBytes = 0;
  const pending: ((error?: Error) => void)[] = [];
  const stream = new Writable({
    write(_chunk, _encoding, done) {
      pending.push(done);
    },
  });
  stream.on('error', () => undefined);
  return {
    stream,
    writes: gatherWrites(stream, () => heldBytes),
    hold(sizeBytes) {
      heldBytes = sizeBytes;
    },
    async end(error) {
      pending.shift()?.(error);
      await nextTurn();
    },
  };
}

test('who asks is told when the writes so far have ended, not of later ones', async () => {
  const { stream, writes, end } = slowSocket();
  const told: string[] = [];
  writes.onDone(() => told.push('nothing was written'));
  expect(told).toEqual(['nothing was written']);
  stream.write(Buffer.alloc(40_000));
  stream.write(Buffer.alloc(50_000));
  writes.onDone(() => told.push('two'));
  stream.write(Buffer.alloc(60_000));
  writes.onDone(() => told.push('three'));
  await end();
  expect(told).toEqual(['nothing was written']);
  await end();
  expect(told).toEqual(['nothing was written', 'two']);
  await end();
  expect(told).toEqual(['nothing was written', 'two', 'three']);
});

test('who asks while something is held back from the socket is told when that has been written too', async () => {
  const { stream, writes, hold, end } = slowSocket();
  let told = 0;
  stream.write(Buffer.alloc(40_000));
  hold(50_000);
  writes.onDone(() => {
    told += 1;
  });
  await end();
  expect(told).toBe(0);
  hold(0);
  stream.write(Buffer.alloc(50_000));
  await end();
  expect(told).toBe(1);
});

test('nobody is told of a write that failed, nor of those after it', async () => {
  const { stream, writes, end } = slowSocket();
  let told = 0;
  stream.write(Buffer.alloc(40_000));
  stream.write(Buffer.alloc(40_000));
  writes.onDone(() => {
    told += 1;
  });
  await end(new Error('the cable was pulled'));
  writes.onDone(() => {
    told += 1;
  });
  await nextTurn();
  expect(told).toBe(0);
});
