import type { PlacementLack } from '../../crdt/placement.ts';
import type { PolicyLack } from './replication-api.ts';

/** What of a policy is missing, in words that say what to do. */
export function lackOf(lack: PlacementLack): PolicyLack {
  const { kind, wanted, placed } = lack;
  if (lack.kind === 'replicas') {
    const message =
      `${wanted} copies are asked for, and ${placed} ${placed === 1 ? 'node' : 'nodes'} can hold them: ` +
      'admit storage nodes that the policy allows, or lower its replicas';
    return { kind, label: null, wanted, placed, message };
  }
  const message =
    `holders with ${wanted} different values of ${lack.label} are asked for, and there are ${placed}: ` +
    `give a storage node another ${lack.label}, admit one that has it, or lower the policy's diversity`;
  return { kind, label: lack.label, wanted, placed, message };
}
