import type { PeerId } from '../../crdt/ids.ts';
import type { SyncSink } from '../../protocols/sync/client.ts';
import type { Clock } from '../ports/clock.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Certificates } from './confirmation/certificates.ts';
import type { PropagationMonitor } from './propagation.ts';
import type { IntakeReport } from './record-intake.ts';
import type { SyncView } from './sync-view.ts';

interface Dependencies {
  readonly clock: Clock;
  readonly view: SyncView;
  readonly propagation: Pick<PropagationMonitor, 'arrived' | 'heardTime'>;
  readonly certificates: Pick<Certificates, 'receive'>;
}

/** Where what is pulled from a peer goes: records through `take`, certificates beside them. */
export function syncSink(
  dependencies: Dependencies,
  peer: PeerId,
  take: (texts: readonly Uint8Array[], contents: readonly Uint8Array[]) => Promise<IntakeReport>,
): SyncSink {
  const { clock, view, propagation, certificates } = dependencies;
  return {
    kept: () => view.slots().kept,
    trees: () => view.trees(),
    digestOf: (doc) => view.digestOf(doc),
    slotOf: (doc) => view.slotOf(doc),
    headsOf: (doc) => view.headsOf(doc),
    confirmedOf: (doc) => view.confirmedOf(doc),
    nowMs: () => clock.nowMs(),
    turn: () => clock.sleep(0),
    heardTime: (sample) => propagation.heardTime(peer, sample),
    receive: async (texts, contents) => {
      const report = await take(texts, contents);
      propagation.arrived(report.added, 'sync');
      return accepted(report);
    },
    receiveCertificates: async (texts) => {
      const fault = await certificates.receive(texts, peer);
      if (fault !== undefined) throw new MeshError('protocol_violation', fault);
    },
  };
}

/** How many records were new; a record that can never be valid ends the round. */
function accepted(report: IntakeReport): number {
  const fault = report.faults[0];
  if (fault !== undefined) {
    throw new MeshError('protocol_violation', `the peer sent a record that can never be valid: ${fault.message}`);
  }
  return report.added.length;
}
