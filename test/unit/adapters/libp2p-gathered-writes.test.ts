import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { gatherWrites } from '../../../src/adapters/libp2p/native-tls.ts';

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
  gatherWrites(stream);
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
