import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Connection, Stream } from '@libp2p/interface';
import { expect, it } from 'vitest';
import { ConnectionBook } from '../../../src/adapters/libp2p/connection-book.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const heartbeat = { intervalMs: 1_000, timeoutMs: 500, missesMax: 3 };

/** A stream whose other end sends back what it gets, or says nothing. */
class PingStream extends EventTarget {
  readonly status = 'open';
  readonly remoteWriteStatus = 'writable';
  readonly writableNeedsDrain = false;
  readonly readBufferLength = 0;
  readonly writeBufferLength = 0;
  readonly #answers: boolean;
  aborted: Error | undefined;

  constructor(answers: boolean) {
    super();
    this.#answers = answers;
  }

  send(data: Uint8Array): boolean {
    if (this.#answers) queueMicrotask(() => this.dispatchEvent(Object.assign(new Event('message'), { data })));
    return true;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  abort(reason: Error): void {
    this.aborted = reason;
  }
}

/** A book with one connection, on which streams are opened by `open`. */
function bookOf(open: (signal: AbortSignal | undefined) => PingStream) {
  const clock = new VirtualClock();
  const dropped: Error[] = [];
  const changes: string[] = [];
  const connection = {
    remotePeer: { toString: () => 'peer' },
    status: 'open',
    direction: 'outbound',
    newStream: (_: string, { signal }: { signal?: AbortSignal } = {}) =>
      Promise.resolve(open(signal) as unknown as Stream),
    abort: (reason: Error) => void dropped.push(reason),
  } as unknown as Connection;
  const book = new ConnectionBook(
    {
      clock,
      log: new MemoryLog(),
      onChange: ({ kind }) => void changes.push(kind),
      isDefective: () => false,
    },
    heartbeat,
  );
  return { book, clock, connection, dropped, changes };
}

it('lets go of the stream of a ping once it is answered, while the connection lasts', async () => {
  const streams: WeakRef<PingStream>[] = [];
  const { book, clock, connection, changes } = bookOf(() => {
    const stream = new PingStream(true);
    streams.push(new WeakRef(stream));
    return stream;
  });
  book.opened(connection);
  await clock.run(clock.sleep(100 * heartbeat.intervalMs), 200 * heartbeat.intervalMs);
  expect(changes).toEqual(['connected']);
  expect(streams.length).toBeGreaterThan(90);
  // A reference that was looked at in this turn of the event loop is kept until its end.
  await new Promise((resolve) => void setImmediate(resolve));
  collectGarbage();
  expect(streams.filter((stream) => stream.deref() !== undefined).length).toBeLessThan(5);
  book.closed(connection);
});

it('resets the stream of a ping that is not answered, and drops the connection after so many', async () => {
  const streams: PingStream[] = [];
  const { book, clock, connection, dropped } = bookOf(() => {
    streams.push(new PingStream(false));
    return streams.at(-1) as PingStream;
  });
  book.opened(connection);
  await clock.run(clock.sleep(10 * heartbeat.intervalMs), 20 * heartbeat.intervalMs);
  expect(streams.map(({ aborted }) => aborted)).toEqual(
    Array(heartbeat.missesMax).fill(expect.objectContaining({ code: 'timeout' })),
  );
  expect(dropped).toEqual([expect.objectContaining({ code: 'timeout' })]);
  book.closed(connection);
});

it('resets the stream of a ping when the connection is gone, and is not waiting for it any more', async () => {
  const streams: PingStream[] = [];
  const signals: (AbortSignal | undefined)[] = [];
  const { book, clock, connection, dropped, changes } = bookOf((signal) => {
    signals.push(signal);
    streams.push(new PingStream(false));
    return streams.at(-1) as PingStream;
  });
  book.opened(connection);
  await clock.run(clock.sleep(heartbeat.timeoutMs / 2), 1_000);
  book.closed(connection);
  await clock.run(clock.sleep(10 * heartbeat.intervalMs), 20 * heartbeat.intervalMs);
  expect(streams.map(({ aborted }) => aborted)).toEqual([expect.objectContaining({ code: 'timeout' })]);
  expect(signals.map((signal) => signal?.aborted)).toEqual([true]);
  expect([dropped, changes]).toEqual([[], []]);
});
