import { beforeEach, describe, expect, test, vi } from 'vitest';
import { rawHash } from '../../../crdt/digest.ts';
import type { DocId, PeerId } from '../../../crdt/ids.ts';
import { encodeGossip } from '../../../protocols/gossip/messages.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { GossipWorker } from '../../../src/node/gossip-worker.ts';
import type { GossipReceiver, GossipVerdict } from '../../../src/ports/network.ts';
import { registerOf } from '../../support/quorum-mesh.ts';
import { testCluster } from '../../support/versions.ts';

const bob = 'bob' as PeerId;
/** Messages looked at and taken in at once. */
const intakeAtOnceMax = 64;

interface Checked {
  readonly text: string;
  /** Ends the verification of the message's only record. */
  readonly end: (fault?: string) => void;
}

let receive: GossipReceiver;
let checks: Checked[];
let takenIn: string[][];
let asked: DocId[][];

beforeEach(() => {
  [checks, takenIn, asked] = [[], [], []];
  const worker = new GossipWorker(
    {
      network: {
        connectedPeers: () => [bob],
        subscribe: (topic: string, receiver: GossipReceiver) => {
          if (!topic.endsWith('/confirmed')) receive = receiver;
          return () => undefined;
        },
      },
      clock: new VirtualClock(),
      objects: { slotOf: () => 0 },
      view: { holds: () => true, headsOf: () => [], confirmedOf: () => undefined },
      slots: { kept: { isAll: true, has: () => true, list: () => [0] }, onChange: () => () => undefined },
      intake: {
        check: (texts: readonly Uint8Array[]) =>
          new Promise((resolve) => {
            const text = Buffer.from(texts[0] ?? []).toString();
            const end = (fault?: string): void =>
              resolve({ versions: [{ text }], faults: fault === undefined ? [] : [{ message: fault }] });
            checks.push({ text, end });
          }),
        receiveChecked: async (versions: readonly { text: string }[]) => {
          takenIn.push(versions.map(({ text }) => text));
          return { added: [], incomplete: [], faults: [] };
        },
      },
      certificates: { check: async () => ({ certificates: [], fault: undefined }), keep: async () => undefined },
      voters: () => [],
      sync: { requestDocuments: (_peer: PeerId, docs: Iterable<DocId>) => asked.push([...docs]) },
      content: { small: () => undefined },
      propagation: { arrived: () => undefined },
      log: new MemoryLog(),
      metrics: new MemoryMetrics(),
    } as never,
    { cluster: testCluster },
  );
  worker.start();
});

const docOf = (name: string): DocId => registerOf(name) as DocId;

function hear(name: string): GossipVerdict | Promise<GossipVerdict> {
  const hint = { doc: rawHash(docOf(name)), heads: [], records: [Buffer.from(name)] };
  return receive(encodeGossip([hint]), bob);
}

describe('a message', () => {
  test('has its verdict when its signatures were verified, and is taken in only if they hold', async () => {
    const verdicts = [hear('sound'), hear('forged')];
    expect(takenIn).toEqual([]);
    checks[0]?.end();
    checks[1]?.end('the signature does not hold');
    expect(await Promise.all(verdicts)).toEqual(['accept', 'reject']);
    expect(takenIn).toEqual([['sound']]);
  });

  test('is taken in after those that came before it, whichever is verified first', async () => {
    const verdicts = [hear('parent'), hear('child')];
    checks[1]?.end();
    await vi.waitFor(() => expect(checks).toHaveLength(2));
    expect(takenIn).toEqual([]);
    checks[0]?.end();
    await Promise.all(verdicts);
    expect(takenIn).toEqual([['parent'], ['child']]);
  });

  test('is dropped unseen, and asked for, while 64 are being looked at; later ones are looked at again', async () => {
    const verdicts = Array.from({ length: intakeAtOnceMax }, (_, at) => hear(`m${at}`));
    expect(await hear('late')).toBe('ignore');
    expect(checks).toHaveLength(intakeAtOnceMax);
    expect(asked).toEqual([[docOf('late')]]);
    for (const [at, { end }] of checks.entries()) end(at === 0 ? 'the signature does not hold' : undefined);
    expect(new Set(await Promise.all(verdicts))).toEqual(new Set(['reject', 'accept']));
    const again = hear('again');
    checks.at(-1)?.end();
    expect(await again).toBe('accept');
  });
});
