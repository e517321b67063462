import { verifyDescriptor } from '../../../crdt/membership-descriptor.ts';
import { membershipDigest } from '../../../crdt/membership-set.ts';
import { publicKeyOf } from '../../../crdt/signature.ts';
import type { Machine } from '../machine.ts';
import type { CheckerFactory, World } from './checker.ts';

/**
 * All nodes hold the same descriptors, of every node that runs the one by which it stands now, each signed by its node;
 * and each sees every other alive.
 */
export const membership: CheckerFactory = {
  name: 'membership',
  create: (world) => ({
    quiet: (violate) => {
      const fault = strangeness([...world.machines.values()]) ?? forgery(world);
      if (fault !== undefined) violate(fault);
    },
  }),
};

/** What nodes that are all up do not agree on, or do not see, of one another; undefined when there is nothing. */
export function strangeness(machines: readonly Machine[]): string | undefined {
  const [first] = machines;
  const expected = first === undefined ? '' : digestAt(first);
  for (const machine of machines) {
    const model = machine.process?.node.model;
    if (model === undefined) return `${machine.name} is not up`;
    for (const { name, member, process } of machines) {
      const held = model.descriptors().get(member.nodeId)?.text;
      if (held === undefined || held !== process?.node.model.ownDescriptor()?.text)
        return `${machine.name} does not hold the descriptor of ${name}`;
      const state = model.liveness.stateOf(member.nodeId);
      if (state !== 'online' && state !== 'draining') return `${machine.name} sees ${name} as ${state}`;
    }
    if (digestAt(machine) !== expected) return `${machine.name} and ${first?.name} hold different descriptors`;
  }
  return undefined;
}

function digestAt({ process }: Machine): string {
  return process === undefined ? '' : Buffer.from(membershipDigest(process.node.model.descriptors())).toString('hex');
}

function forgery({ machines, cluster, members }: World): string | undefined {
  for (const { name, process } of machines.values()) {
    for (const [nodeId, signed] of process?.node.model.descriptors() ?? []) {
      const member = members.find((each) => each.nodeId === nodeId);
      const key = member === undefined ? undefined : publicKeyOf(member.peerId);
      if (key === undefined || !verifyDescriptor(signed, cluster, key)) {
        return `${name} holds a descriptor of ${nodeId} that is not signed by it`;
      }
    }
  }
  return undefined;
}
