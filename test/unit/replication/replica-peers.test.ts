import { expect, test } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { replicasProtocol } from '../../../protocols/replicas/limits.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryHub } from '../../../src/adapters/memory/network.ts';
import { ReplicaPeers } from '../../../src/replication/replica-peers.ts';

test('nobody who asks about the mesh waits longer for a silent coordinator because others ask it too', async () => {
  const clock = new VirtualClock();
  const hub = new MemoryHub({ clock });
  const [asking, silent] = ['asking', 'silent'].map((name) => hub.join(name as PeerId)) as [
    ReturnType<MemoryHub['join']>,
    ReturnType<MemoryHub['join']>,
  ];
  let streams = 0;
  silent.handle(replicasProtocol, () => {
    streams += 1;
    return new Promise<void>(() => undefined);
  });
  for (const network of [asking, silent]) await network.start();
  const peers = new ReplicaPeers({ network: asking, clock });
  peers.start();
  await clock.runUntil(() => peers.isConnected(silent.localPeer), 60_000);
  const startedMs = clock.monotonicMs();
  const questions = Array.from({ length: 10 }, () => peers.ask(silent.localPeer, 'view', (client) => client.status()));
  const results = await clock.run(Promise.allSettled(questions), 600_000);
  expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 'rejected'));
  expect(clock.monotonicMs() - startedMs).toBeLessThan(9_000);
  // What nobody waits for any more is not asked either.
  await clock.advance(60_000);
  expect(streams).toBeLessThan(4);
  peers.stop();
  for (const network of [asking, silent]) await network.stop();
});
