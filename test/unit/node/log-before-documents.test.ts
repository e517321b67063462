import { afterEach, describe, expect, it } from 'vitest';
import type { NodeId, PeerId } from '../../../crdt/ids.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import { syncProtocol } from '../../../protocols/sync/messages.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { SyncWorker } from '../../../src/node/sync-worker.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';

const peer = 'bob' as PeerId;
const everything = SlotSet.all(16);

/** A worker that is connected to one peer, and what it did with it, in order. */
class Scene {
  readonly clock = new VirtualClock();
  readonly done: string[] = [];
  /** How the peer's control log is followed. */
  follow: () => Promise<void> = async () => undefined;
  readonly worker: SyncWorker;

  constructor() {
    const { clock, done } = this;
    this.worker = new SyncWorker(
      {
        clock,
        random: new SeededRandom('alice'),
        log: new MemoryLog(),
        metrics: new MemoryMetrics(),
        network: {
          handle: () => undefined,
          onPeerChange: () => () => undefined,
          connectedPeers: () => [peer],
          open: async (_peer: PeerId, protocol: string) => {
            done.push(protocol === syncProtocol ? 'documents' : protocol);
            throw new MeshError('peer_unreachable', 'the connection broke');
          },
        },
        control: {
          follow: async (from: PeerId) => {
            done.push(`log of ${from}`);
            await this.follow();
          },
        },
        slots: { kept: everything, whole: everything, isEverything: true, onChange: () => () => undefined },
        duties: { owes: () => false },
        nodeOf: () => peer as string as NodeId,
      } as never,
      { intervalMs: 60_000 },
    );
    this.worker.start();
  }
}

let scene: Scene;
afterEach(() => scene.worker.stop());

describe('a round with a peer', () => {
  it('asks for documents once its control log is here, and not before', async () => {
    scene = new Scene();
    scene.follow = () => scene.clock.sleep(5_000);
    await scene.clock.advance(4_900);
    expect(scene.done).toEqual(['log of bob']);
    await scene.clock.advance(1_000);
    expect(scene.done.slice(0, 2)).toEqual(['log of bob', 'documents']);
  });

  it('asks for none when the log does not hold, and for those it has when there is no log to be had', async () => {
    scene = new Scene();
    scene.follow = () => Promise.reject(new MeshError('protocol_violation', 'an entry that does not follow'));
    await scene.clock.advance(10 * 60_000);
    expect(new Set(scene.done)).toEqual(new Set(['log of bob']));
    scene.follow = () => Promise.reject(new MeshError('timeout', 'it does not answer'));
    await scene.clock.advance(10 * 60_000);
    expect(scene.done).toContain('documents');
  });
});
