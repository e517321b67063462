import type { ControlMember } from '../../../crdt/control/member.ts';
import { checkAddresses } from '../../../crdt/control/member.ts';
import type { DescriptorSet } from '../../../crdt/membership-set.ts';

/** Addresses of a member, as many as a descriptor may name. */
const announcedMax = 16;
/** Addresses that only the machine itself can use. */
const loopbackPattern = /^\/(ip4\/127\.|ip6\/::1\/|dns[46]?\/localhost\/)/;

/**
 * The addresses a node tells of: those it listens on, each once and in a fixed order; loopback ones only when there is
 * nothing else, as in a mesh on one machine.
 */
export function announcedAddresses(listening: readonly string[]): readonly string[] {
  const sound = [...new Set(listening)].filter((address) => checkAddresses([address]) === undefined).sort();
  const reachable = sound.filter((address) => !loopbackPattern.test(address));
  return (reachable.length > 0 ? reachable : sound).slice(0, announcedMax);
}

/** Where a member can be dialled: where it says itself that it is now, then where the control log says. */
export function addressesOf(member: ControlMember, descriptors: DescriptorSet): readonly string[] {
  const told = descriptors.get(member.nodeId)?.descriptor.addresses ?? [];
  return [...new Set([...told, ...member.addresses])];
}
