import { peerIdOf } from '../../crdt/signature.ts';
import { SyncClient } from '../../protocols/sync/client.ts';
import { serveSync } from '../../protocols/sync/server.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import type { FeedPosition } from '../../protocols/wire/set-following.ts';
import { MemoryStream } from '../../src/adapters/memory/byte-stream.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { CountedStream } from '../../src/node/counted-stream.ts';
import { testNode } from '../../test/support/versions.ts';
import { type Store, takeIn } from './store.ts';

const clock = new SystemClock();

/** What one exchange between two stores cost. */
export interface Exchange<T> {
  readonly result: T;
  /** Bytes both ways on the stream, frames and credits included, less the records' own. */
  readonly besideRecordsBytes: number;
  readonly records: number;
  /** Questions about the feed or about ranges, each a trip there and back. */
  readonly trips: number;
  readonly rowsRead: number;
  readonly ms: number;
}

/** Lets one store pull from the other over a stream in memory, with the protocol's own client and server. */
export async function exchange<T>(
  asker: Store,
  answerer: Store,
  pull: (client: SyncClient) => Promise<T>,
): Promise<Exchange<T>> {
  const [near, far] = streamPair();
  let bytes = 0;
  let recordBytes = 0;
  const channel = new Channel(
    new CountedStream(near, (sentBytes, receivedBytes) => {
      bytes += sentBytes + receivedBytes;
    }),
    { clock },
  );
  const rowsBefore = asker.rowsRead() + answerer.rowsRead();
  const startMs = performance.now();
  const served = serveSync(far, answerer.view, { clock, lacking: () => undefined });
  const client = new SyncClient(channel, {
    kept: () => asker.view.slots().kept,
    trees: () => asker.view.trees(),
    digestOf: (doc) => asker.view.digestOf(doc),
    slotOf: (doc) => asker.view.slotOf(doc),
    headsOf: (doc) => asker.view.headsOf(doc),
    confirmedOf: (doc) => asker.view.confirmedOf(doc),
    receiveCertificates: async () => undefined,
    nowMs: () => clock.nowMs(),
    turn: () => Promise.resolve(),
    heardTime: () => undefined,
    async receive(texts) {
      for (const text of texts) recordBytes += text.length;
      return takeIn(asker, texts);
    },
  });
  const result = await pull(client);
  await channel.end();
  await served;
  return {
    result,
    besideRecordsBytes: bytes - recordBytes,
    records: client.round.recordsReceived,
    trips: client.round.comparisons,
    rowsRead: asker.rowsRead() + answerer.rowsRead() - rowsBefore,
    ms: performance.now() - startMs,
  };
}

/** Where a store's feed can be followed from now. */
export async function feedPosition(asker: Store, answerer: Store): Promise<FeedPosition> {
  const { result } = await exchange(asker, answerer, (client) => client.pullFeed(undefined));
  return result.position;
}

function streamPair(): [MemoryStream, MemoryStream] {
  const end = (name: string): MemoryStream =>
    new MemoryStream(peerIdOf(testNode(name).signer.publicKey), (_, arrive) => void setImmediate(arrive), {
      onClosed: () => undefined,
      splitAt: () => 0,
    });
  const near = end('far');
  const far = end('near');
  MemoryStream.join(near, far);
  return [near, far];
}
