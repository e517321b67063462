import { decodeCanonical, encodeCanonical, hasExactly } from './canonical-json.ts';
import {
  type ControlMember,
  checkLabels,
  checkMemberIdentity,
  checkRoles,
  coordinatorsMax,
  defaultRoles,
  isCoordinator,
  isMemberName,
  type Labels,
  membersMax,
  type Role,
} from './control/member.ts';
import { blake3, fromBase32, toBase32 } from './digest.ts';
import { type ClusterId, err, type NodeId, ok, type PeerId, type Result } from './ids.ts';
import { isSlotCount, slotsMax } from './slot-set.ts';

/** The longest genesis text that is read: room for `membersMax` members with a few addresses each. */
export const genesisBytesMax = 1_048_576;
/** The seed makes two clusters with the same members differ; 16 bytes cannot be met by chance. */
const seedBytesMin = 16;
const seedBytesMax = 64;
/** Shares of the metadata in a cluster that was founded without saying. */
const slotsDefault = 16;

/** One node of the cluster, as it was when the cluster was founded. */
export interface Member {
  /** What people call it: a lowercase letter or digit, then lowercase letters, digits and hyphens; at most 63. */
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** Multiaddrs it can be reached at; may be empty. */
  readonly addresses: readonly string[];
  /** What it does, in ascending order; `['storage']` when absent. */
  readonly roles?: readonly Role[];
  /** Where and what it is; none when absent. */
  readonly labels?: Labels;
}

/** What founds a cluster; its hash is the cluster's id. */
export interface Genesis {
  readonly v: 1;
  /** The cluster's name, by the same rule as a member's. */
  readonly cluster: string;
  /** 16 to 64 random bytes in base32. */
  readonly seed: string;
  /** At least one; no two share a name, a node id or a peer id. */
  readonly members: readonly Member[];
  /** Shares that the metadata is cut into, for good: a power of two up to 4,096; 16 when absent. */
  readonly slots?: number;
}

/** How many slots a cluster has. */
export function slotsOfCluster({ slots = slotsDefault }: Pick<Genesis, 'slots'>): number {
  return slots;
}

/** The canonical JSON text of a genesis entry. Throws a TypeError for one that `decodeGenesis` would refuse. */
export function encodeGenesis(genesis: Genesis): string {
  const fault = checkGenesis(genesis);
  if (fault !== undefined) throw new TypeError(fault);
  return encodeCanonical(genesis);
}

/**
 * Reads a genesis entry and names its cluster: BLAKE3 of the canonical text. One newline at the end is allowed,
 * since editors and tools put it there, and is no part of the text.
 *
 * @returns the entry and the cluster's id, or a sentence saying what is wrong; never throws
 */
export function decodeGenesis(text: string): Result<{ readonly genesis: Genesis; readonly id: ClusterId }, string> {
  const canonical = text.endsWith('\n') ? text.slice(0, -1) : text;
  const decoded = decodeCanonical(canonical, genesisBytesMax);
  if (!decoded.ok) return decoded;
  const fault = checkGenesis(decoded.value);
  if (fault !== undefined) return err(fault);
  const id = toBase32(blake3(Buffer.from(canonical, 'utf8'))) as ClusterId;
  return ok({ genesis: decoded.value as Genesis, id });
}

function checkGenesis(value: unknown): string | undefined {
  const fields = ['cluster', 'members', 'seed', 'v', ...(isPresent(value, 'slots') ? ['slots'] : [])];
  if (!hasExactly(value, fields)) {
    return 'a genesis entry has the fields cluster, members, seed and v, and may have slots';
  }
  if (value.v !== 1) return 'this is not version 1 of the genesis format';
  if (!isMemberName(value.cluster)) return 'the cluster has no name of lowercase letters, digits and hyphens';
  const seed = typeof value.seed === 'string' ? fromBase32(value.seed) : undefined;
  if (seed === undefined || seed.length < seedBytesMin || seed.length > seedBytesMax) {
    return `the seed is not ${seedBytesMin} to ${seedBytesMax} bytes in base32`;
  }
  if ('slots' in value && !isSlotCount(value.slots)) return `slots are a power of two up to ${slotsMax}`;
  const members = value.members;
  if (!Array.isArray(members) || members.length === 0 || members.length > membersMax) {
    return `a cluster has 1 to ${membersMax} members`;
  }
  return checkMembers(members) ?? checkCoordinators(members);
}

function checkCoordinators(members: readonly Member[]): string | undefined {
  const coordinators = members.filter((member) => isCoordinator({ roles: member.roles ?? defaultRoles }));
  return coordinators.length > coordinatorsMax ? `a cluster has at most ${coordinatorsMax} coordinators` : undefined;
}

function checkMembers(members: readonly unknown[]): string | undefined {
  const taken = new Set<string>();
  for (const [index, member] of members.entries()) {
    const fault = checkMember(member);
    if (fault !== undefined) return `member ${index + 1}: ${fault}`;
    const { name, nodeId, peerId } = member as Member;
    // The three kinds of name have different forms except for short words, hence the kind in front.
    for (const claim of [`name ${name}`, `node id ${nodeId}`, `peer id ${peerId}`]) {
      if (taken.has(claim)) return `member ${index + 1}: the ${claim} is taken by an earlier member`;
      taken.add(claim);
    }
  }
  return undefined;
}

const memberFields = ['addresses', 'name', 'nodeId', 'peerId'];
const optionalFields = ['labels', 'roles'];

function checkMember(member: unknown): string | undefined {
  const fields = [...memberFields, ...optionalFields.filter((field) => isPresent(member, field))];
  if (!hasExactly(member, fields)) {
    return `a member has the fields ${memberFields.join(', ')}, and may have ${optionalFields.join(' and ')}`;
  }
  return (
    checkMemberIdentity(member) ??
    ('roles' in member ? checkRoles(member.roles) : undefined) ??
    ('labels' in member ? checkLabels(member.labels) : undefined)
  );
}

function isPresent(value: unknown, field: string): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, field);
}

/**
 * The founding members as the control log has them, by node id: the role `storage` for one that names none, and the
 * role `coordinator` for the first, when no member has it.
 */
export function foundingMembers(genesis: Genesis): readonly ControlMember[] {
  const members = genesis.members
    .map((member): ControlMember => ({ ...member, roles: member.roles ?? defaultRoles, labels: member.labels ?? {} }))
    .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  if (members.some(isCoordinator)) return members;
  return members.map((member, at) =>
    at === 0 ? { ...member, roles: [...member.roles, 'coordinator' as const].sort() } : member,
  );
}
