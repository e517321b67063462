import type { MeshEvent } from '../../src/node/api.ts';
import { cut, type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { generatedBytes, mebibyte } from '../support/data.ts';
import { libp2pSeconds, tlsSeconds } from './references.ts';

const objectBytes = 1_024 * mebibyte;
/** The first of them is a third slower: the code is being compiled. */
const rounds = 5;
const waitMsMax = 120_000;

/** How fast one large object moves from node to node, verified and flushed, beside the bare transports. */
export async function benchReplicate(say: (text: string) => void): Promise<BenchCase[]> {
  const seconds: { replicate: number[]; tls: number[]; libp2p: number[] } = { replicate: [], tls: [], libp2p: [] };
  // The same two nodes all along: removing thousands of files after a round would slow the next one's making of its own.
  await withNodes(2, async (nodes) => {
    for (let round = 0; round < rounds; round += 1) {
      say(`round ${round + 1} of ${rounds}`);
      seconds.tls.push(await tlsSeconds(objectBytes));
      seconds.libp2p.push(await libp2pSeconds(objectBytes));
      seconds.replicate.push(await replicateSeconds(nodes as [RunningProcess, RunningProcess], round));
    }
  });
  const rate = (all: readonly number[]): number => objectBytes / 1e6 / median(all);
  const measured = { bench: 'replicate', value: rate(seconds.replicate), unit: 'MB/s' };
  return [
    benchCase({
      ...measured,
      case: '1 GiB, against bare TLS',
      reference: { name: 'node:tls 1.3 between two processes', value: rate(seconds.tls) },
      target: { of: 'ratio', atLeast: 0.25 },
    }),
    benchCase({
      ...measured,
      case: '1 GiB, against a bare stream',
      reference: { name: 'libp2p stream over @libp2p/tls', value: rate(seconds.libp2p) },
    }),
  ];
}

/** From the moment a node hears of a version until it holds the content whole, verified and flushed. */
async function replicateSeconds([source, target]: [RunningProcess, RunningProcess], seed: number): Promise<number> {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(waitMsMax)]);
  await cut(target, [source]);
  await source.client.put('bench', `large-${seed}`, generatedBytes(objectBytes, seed + 1), { size: objectBytes });
  const events = await target.client.events({ signal });
  await cut(target, []);
  const heardMs = await timeOf(events, 'version');
  const storedMs = await timeOf(events, 'replication');
  done.abort();
  return (storedMs - heardMs) / 1_000;
}

async function timeOf(events: AsyncIterable<MeshEvent>, type: MeshEvent['type']): Promise<number> {
  const iterator = events[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await iterator.next();
    if (done) throw new Error(`the event stream ended before a '${type}' event`);
    if (value.type === type) return performance.now();
  }
}
