import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BlobHash, NodeId, PeerId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import type { CopyRecord } from '../../../src/replication/replica-index.ts';
import type { Proof, ProvedContent } from '../../../src/replication/replica-prover.ts';
import { type CheckCounts, type SpotCheckDependencies, SpotChecks } from '../../../src/replication/spot-checks.ts';
import type { Subject } from '../../../src/replication/subject.ts';

const patienceMs = 3_600_000;
const [silent, sound] = ['silent', 'sound'] as [NodeId, NodeId];
const proved: Proof = { result: 'proved' };
const notAsked: Proof = { result: 'unreachable', why: 'not_asked' };
const late: Proof = { result: 'unreachable', why: 'late' };

let clock: VirtualClock;
let checks: SpotChecks;
/** What becomes of each question, by turns. */
let answer: (node: NodeId, manifest: string) => Proof;
let asked: string[];
let failed: string[];

beforeEach(() => {
  clock = new VirtualClock();
  [asked, failed] = [[], []];
  const random = new SeededRandom('checks');
  const dependencies = {
    index: { note: () => undefined },
    prover: {
      sample: async (node: NodeId, contents: readonly ProvedContent[]) =>
        contents.map(({ manifest }) => {
          asked.push(`${node} ${manifest}`);
          return answer(node, manifest);
        }),
    },
    peers: { isConnected: () => true },
    peerOf: () => 'peer' as PeerId,
    unproved: {
      failed: (node: NodeId, { manifest }: ProvedContent) => failed.push(`${node} ${manifest}`),
      answered: () => undefined,
    },
    kv: new MemoryKv(clock),
    shelf: { sizeOf: () => 10 },
    random,
    clock,
    log: new MemoryLog(),
  };
  checks = new SpotChecks(dependencies as unknown as SpotCheckDependencies);
});
afterEach(() => expect(asked.length).toBeGreaterThan(0));

function offer(nodeId: NodeId, name: string, known: Partial<CopyRecord>): void {
  const subject = { manifest: name as BlobHash, sizeBytes: 10 } as Subject;
  checks.offer(subject, [{ nodeId, sizeBytes: 10, provedMs: undefined, isSuspect: false, ...known }], true);
}

const run = (): Promise<CheckCounts> => clock.run(checks.run(new AbortController().signal), patienceMs);

describe('a node that lets a question pass', () => {
  beforeEach(() => {
    const fallen = new Set<NodeId>();
    answer = (node) => {
      if (node !== silent) return node === sound ? proved : notAsked;
      const proof = fallen.has(node) ? notAsked : late;
      fallen.add(node);
      return proof;
    };
  });

  test('has proved nothing else either that it was to prove in that run, and others are not held to it', async () => {
    for (let index = 0; index < 600; index += 1) offer(silent, `copy-${index}`, {});
    for (const node of [sound, 'unknown' as NodeId]) offer(node, 'copy', {});
    expect(await run()).toEqual({ proved: 1, lacking: 0, wrong: 0, unreachable: 601 });
    expect(failed).toHaveLength(600);
    expect(failed.every((copy) => copy.startsWith('silent '))).toBe(true);
  });

  test('is asked last for what it is suspect of, so that it may be found to lack more', async () => {
    offer(silent, 'suspect', { isSuspect: true });
    offer(silent, 'drawn', { provedMs: 1 });
    offer(silent, 'unproved', {});
    await run();
    expect(asked).toEqual(['silent unproved', 'silent drawn', 'silent suspect']);
    expect(failed).toEqual(['silent unproved', 'silent drawn']);
  });
});

test('copies are told apart that are caught now, that were suspect before, and that are there after all', async () => {
  answer = (_, manifest) => ({ result: manifest.split(' ')[1] as Proof['result'] });
  for (const result of ['lacking', 'wrong', 'proved']) {
    offer(sound, `new ${result}`, {});
    offer(sound, `old ${result}`, { isSuspect: true });
  }
  expect(await run()).toEqual({ proved: 2, lacking: 2, wrong: 2, unreachable: 0 });
  expect([checks.caught, checks.cleared]).toEqual([2, 1]);
});
