import type { PlacementLack } from '../../crdt/placement.ts';
import type { PolicyLack } from './replication-api.ts';

/** What of a policy is missing, and what to do about it, in words. */
export function lackOf(lack: PlacementLack): PolicyLack {
  const { kind, wanted, placed } = lack;
  if (lack.kind === 'replicas') {
    const asked = wanted === 1 ? '1 copy is asked for' : `${wanted} copies are asked for`;
    const able = placed === 1 ? '1 node can' : `${placed} nodes can`;
    const message = `${asked}, and ${able} hold ${wanted === 1 ? 'it' : 'them'}`;
    const advice = 'admit storage nodes that the policy allows, or lower its replicas';
    return { kind, label: null, wanted, placed, message, advice };
  }
  const { label } = lack;
  const message = `holders with ${wanted} different values of ${label} are asked for, and there are ${placed}`;
  const advice = `give a storage node another ${label}, admit one that has it, or lower the policy's diversity`;
  return { kind, label, wanted, placed, message, advice };
}
