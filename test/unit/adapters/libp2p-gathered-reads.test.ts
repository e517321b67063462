import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { gatherReads } from '../../../src/adapters/libp2p/socket-reads.ts';

/** A stream over a socket, as libp2p makes it, that tells of each message that goes up. */
function streamOver(socket: EventEmitter) {
  const messages: number[][] = [];
  let buffered: Uint8Array[] = [];
  const stream = {
    readStatus: 'readable',
    readBuffer: {
      get byteLength(): number {
        return buffered.reduce((sum, { byteLength }) => sum + byteLength, 0);
      },
      append(bytes: Uint8Array): void {
        buffered.push(bytes);
      },
    },
    onData(bytes: Uint8Array): void {
      if (stream.readStatus === 'closed') return;
      buffered.push(bytes);
      stream.dispatchReadBuffer();
    },
    dispatchReadBuffer(): void {
      if (stream.readStatus === 'paused') return;
      if (stream.readStatus === 'readable') messages.push(buffered.map(({ byteLength }) => byteLength));
      buffered = [];
    },
  };
  socket.on('data', (bytes) => stream.onData(bytes));
  socket.on('close', () => messages.push([]));
  gatherReads(socket, stream);
  return { stream, messages };
}

const full = 16_384;
const record = (length = full): Uint8Array => new Uint8Array(length);
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('full records of one turn go up together, and the last of them with the turn', async () => {
  const socket = new EventEmitter();
  const { messages } = streamOver(socket);
  for (let count = 0; count < 3; count += 1) socket.emit('data', record());
  await Promise.resolve();
  expect(messages).toEqual([]);
  await nextTurn();
  expect(messages).toEqual([[full, full, full]]);
  socket.emit('data', record());
  await nextTurn();
  expect(messages).toEqual([[full, full, full], [full]]);
});

test('a short record goes up at once, behind those before it', async () => {
  const socket = new EventEmitter();
  const { messages } = streamOver(socket);
  socket.emit('data', record(100));
  socket.emit('data', record());
  socket.emit('data', record(full - 1));
  expect(messages).toEqual([[100], [full, full - 1]]);
  await nextTurn();
  expect(messages).toHaveLength(2);
});

test('no more than 128 KiB wait for the end of the turn', () => {
  const socket = new EventEmitter();
  const { messages } = streamOver(socket);
  for (let count = 0; count < 17; count += 1) socket.emit('data', record());
  expect(messages).toEqual([Array(8).fill(full), Array(8).fill(full)]);
});

test('what came before the end of the socket goes up before it', async () => {
  const socket = new EventEmitter();
  const { messages } = streamOver(socket);
  socket.emit('data', record());
  socket.emit('close');
  expect(messages).toEqual([[full], []]);
  await nextTurn();
  expect(messages).toHaveLength(2);
});

test('a stream that pauses keeps what was gathered, and one that is closed drops it', async () => {
  const socket = new EventEmitter();
  const { messages, stream } = streamOver(socket);
  socket.emit('data', record());
  stream.readStatus = 'paused';
  await nextTurn();
  socket.emit('data', record());
  expect(messages).toEqual([]);
  stream.readStatus = 'readable';
  stream.dispatchReadBuffer();
  expect(messages).toEqual([[full, full]]);
  socket.emit('data', record());
  stream.readStatus = 'closed';
  await nextTurn();
  expect(messages).toHaveLength(1);
});
