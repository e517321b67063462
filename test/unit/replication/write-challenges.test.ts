import { beforeEach, describe, expect, test } from 'vitest';
import type { NamespacePolicy } from '../../../crdt/control/namespace-policy.ts';
import type { BlobHash, NodeId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';
import type { Proof, ProvedContent } from '../../../src/replication/replica-prover.ts';
import { type ChallengedWrite, WriteChallenges } from '../../../src/replication/write-challenges.ts';
import { idOf } from '../../support/made-ids.ts';

const [self, near, far] = ['a', 'b', 'c'] as [NodeId, NodeId, NodeId];
const write = (key: string, sizeBytes = 10, ns = 'docs'): ChallengedWrite => ({
  ns,
  key,
  manifest: idOf<BlobHash>(key),
  sizeBytes,
});

let clock: VirtualClock;
let asked: [how: 'bind' | 'sample', keys: BlobHash[]][];
/** What every challenge comes to. */
let answer: Proof;
/** Contents of which no proof can be had. */
let unreadable: Set<BlobHash>;
let challenges: WriteChallenges;

beforeEach(() => {
  clock = new VirtualClock();
  asked = [];
  answer = { result: 'proved' };
  unreadable = new Set();
  const policies: [string, NamespacePolicy][] = [
    ['docs', { replicas: 2 }],
    ['here', { replicas: 3 }],
    ['unmet', { replicas: 2, required: { dc: ['elsewhere'] } }],
  ];
  const state = { members: new Map(), namespaces: new Map(policies) };
  // The writer stores contents of nobody but where three copies are asked for.
  const nodes = [near, far, self].map((nodeId) => ({ nodeId, weight: nodeId === self ? 1e-9 : 1, labels: {} }));
  const how = (name: 'bind' | 'sample') => async (_node: NodeId, contents: readonly ProvedContent[]) => {
    asked.push([name, contents.map(({ manifest }) => manifest)]);
    return contents.map(({ manifest }): Proof => {
      if (unreadable.has(manifest)) return { result: 'unreachable', why: 'put_off' };
      return name === 'bind' ? answer : { result: answer.result };
    });
  };
  challenges = new WriteChallenges({
    prover: { bind: how('bind'), sample: how('sample') },
    placement: new PlacementDirectory({ state: () => state, nodesOf: () => nodes }),
    absent: () => ({ gone: new Set(), away: new Set(), nextMs: undefined }),
    self,
    clock,
  });
});

describe('the holders of writes', () => {
  test('are bound at once by what is small and surplus here, and show some of the rest', async () => {
    answer = { result: 'proved', boundUntilMs: 60_000 };
    const writes = [write('one'), write('large', 20_000), write('kept', 10, 'here'), write('unmet', 10, 'unmet')];
    const proofs = await challenges.prove(near, [...writes, write('two')]);
    expect(asked).toEqual([
      ['bind', [idOf<BlobHash>('one'), idOf<BlobHash>('two')]],
      ['sample', [idOf<BlobHash>('large'), idOf<BlobHash>('kept'), idOf<BlobHash>('unmet')]],
    ]);
    // In the order in which they were asked for.
    expect(proofs.map(({ boundUntilMs }) => boundUntilMs !== undefined)).toEqual([true, false, false, false, true]);
    expect([...challenges.boundUntilMs(idOf<BlobHash>('two'))]).toEqual([[near, 60_000]]);
    expect(challenges.boundUntilMs(idOf<BlobHash>('large')).size).toBe(0);
    await challenges.prove(far, [write('two')]);
    expect([...challenges.boundUntilMs(idOf<BlobHash>('two')).keys()]).toEqual([near, far]);
    challenges.forget(idOf<BlobHash>('two'));
    expect(challenges.boundUntilMs(idOf<BlobHash>('two')).size).toBe(0);
  });

  test('that were disconnected are bound to nothing that is relied on: who comes back may have another disk', async () => {
    answer = { result: 'proved', boundUntilMs: 60_000 };
    for (const node of [near, far]) await challenges.prove(node, [write('one'), write('two')]);
    challenges.forgetNode(near);
    for (const key of ['one', 'two']) {
      expect([...challenges.boundUntilMs(idOf<BlobHash>(key)).keys()]).toEqual([far]);
    }
    await challenges.prove(near, [write('two')]);
    expect([...challenges.boundUntilMs(idOf<BlobHash>('two')).keys()].sort()).toEqual([near, far]);
  });

  test('are bound by all others of a batch when one of it cannot be proved, which is asked for by itself for a minute', async () => {
    answer = { result: 'proved', boundUntilMs: 60_000 };
    unreadable.add(idOf<BlobHash>('bad'));
    const batch = ['one', 'bad', 'two'].map((key) => write(key));
    const proofs = await challenges.prove(near, batch);
    expect(proofs.map(({ result }) => result)).toEqual(['proved', 'unreachable', 'proved']);
    await challenges.prove(near, [write('three'), write('bad'), write('four')]);
    await challenges.prove(near, [write('bad')]);
    await challenges.prove(near, [write('five')]);
    await challenges.prove(far, batch);
    await clock.advance(60_001);
    await challenges.prove(near, batch);
    const [one, bad, two, three, four, five] = ['one', 'bad', 'two', 'three', 'four', 'five'].map(idOf<BlobHash>);
    expect(asked).toEqual([
      ['bind', [one, bad, two]],
      ['bind', [three, four]],
      ['sample', [bad]],
      ['sample', [bad]],
      ['bind', [five]],
      ['bind', [one, bad, two]],
      ['bind', [one, bad, two]],
    ]);
    expect([...challenges.boundUntilMs(four as BlobHash).keys()]).toEqual([near]);
  });

  test('that give no lease for any of several are asked for proofs alone for a minute, and the others are not', async () => {
    answer = { result: 'unreachable', why: 'put_off' };
    await challenges.prove(near, [write('one'), write('two')]);
    await challenges.prove(near, [write('three')]);
    await challenges.prove(far, [write('one')]);
    await clock.advance(60_001);
    await challenges.prove(near, [write('one')]);
    expect(asked.map(([how]) => how)).toEqual(['bind', 'sample', 'bind', 'bind']);
  });
});
