import { afterEach, describe, expect, it } from 'vitest';
import type { PeerProcess } from '../support/peer-process.ts';
import { connectPeerProcesses, pause, until } from '../support/peer-process.ts';

const mib = 1024 * 1024;
/** Chunks of 2 MiB, the largest there are: 64 MiB to get warm, then 256 MiB. */
const warmChunks = 32;
const chunks = 128;
const fullSpeed = 1e12;
const restMs = 1_000;
const looksMax = 20;
/** A second or two where nothing else runs. */
const arrivalMsMax = 60_000;
/**
 * Between what a holder has sent and what is on the reader's disk: 16 MiB on their way to that disk and the chunk that
 * came on top, 4 MiB that a fetcher asks for at once, 1 MiB of the channel's credit, the chunk that is being put together.
 */
const aheadChunksMax = 13;
/** What is ahead, the holder's reads ahead (16 of them) and the noise of two garbage collectors: a quarter of what is asked for. */
const growthBytesMax = 64 * mib;

describe('a slow reader at the other end of a stream of blobs between two processes', () => {
  const running: PeerProcess[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((peer) => peer.stop()));
  });

  it.each([
    ['the fetcher of a node', 'fetcher'],
    ['one that has asked for everything beforehand', 'session'],
  ] as const)('holds its sender back, and grows the memory of neither: %s', async (_, by) => {
    const { alice: holder, bob: reader } = await connectPeerProcesses('blobs');
    running.push(holder, reader);
    const { peerId: peer } = holder.report;

    // At full speed first, so that both processes have their working memory.
    reader.send({ kind: 'pace', bytesPerSecond: fullSpeed });
    reader.send({ kind: 'fetch', peer, by, first: 0, count: warmChunks });
    await until(() => takenBy(reader) === warmChunks, arrivalMsMax);
    const [holderBytes, readerBytes] = [holder.takeRssAnonBytesMax(), reader.takeRssAnonBytesMax()];

    // A trickle for a while, then nothing at all.
    reader.send({ kind: 'pace', bytesPerSecond: 8 * mib });
    reader.send({ kind: 'fetch', peer, by, first: warmChunks, count: chunks });
    await until(() => takenBy(reader) > warmChunks, arrivalMsMax);
    await pause(1_500);
    reader.send({ kind: 'pace', bytesPerSecond: 0 });
    const { taken, served } = await atRest(holder, reader);
    expect(taken).toBeLessThan(warmChunks + chunks / 2);
    expect(served - taken).toBeLessThanOrEqual(aheadChunksMax);
    expect(holder.takeRssAnonBytesMax() - holderBytes).toBeLessThan(growthBytesMax);
    expect(reader.takeRssAnonBytesMax() - readerBytes).toBeLessThan(growthBytesMax);

    // And everything arrives: the reader counts what matched its hash when it was written.
    reader.send({ kind: 'pace', bytesPerSecond: fullSpeed });
    await until(() => takenBy(reader) === warmChunks + chunks, arrivalMsMax);
    expect([holder.report.failure, reader.report.failure]).toEqual([undefined, undefined]);
  });
});

/** Waits until nothing is sent or written for a while, during which neither process hangs. */
async function atRest(
  holder: PeerProcess<'blobs'>,
  reader: PeerProcess<'blobs'>,
): Promise<{ readonly taken: number; readonly served: number }> {
  for (let look = 0; look < looksMax; look += 1) {
    const [{ taken }, { served }] = [reader.report, holder.report];
    const reports = [holder.reports, reader.reports] as const;
    await pause(restMs);
    const isStill = reader.report.taken === taken && holder.report.served === served;
    if (isStill && holder.reports > reports[0] && reader.reports > reports[1]) return { taken, served };
  }
  throw new Error('chunks go on being sent or written, or a process says nothing any more');
}

/** Throws with what went wrong in the reader. */
function takenBy({ report: { taken, failure } }: PeerProcess<'blobs'>): number {
  if (failure !== undefined) throw new Error(failure);
  return taken;
}
