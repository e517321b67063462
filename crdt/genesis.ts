import { decodeCanonical, encodeCanonical, hasExactly } from './canonical-json.ts';
import { blake3, fromBase32, toBase32 } from './digest.ts';
import { type ClusterId, err, type NodeId, ok, type PeerId, type Result } from './ids.ts';
import { isNodeId } from './node-name.ts';
import { publicKeyOf } from './signature.ts';

/** The longest genesis text that is read: room for `membersMax` members with a few addresses each. */
const genesisBytesMax = 1_048_576;
const membersMax = 1_024;
const memberAddressesMax = 16;
const addressLengthMax = 256;
/** The seed makes two clusters with the same members differ; 16 bytes cannot be met by chance. */
const seedBytesMin = 16;
const seedBytesMax = 64;

/** Names of clusters and members stand in file names, commands and logs. */
const namePattern = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** A multiaddr in text: visible ASCII that starts with a slash. What it means is for the network to judge. */
const addressPattern = /^\/[!-~]+$/;

/** One node of the cluster, as it was when the cluster was founded. */
export interface Member {
  /** What people call it: a lowercase letter or digit, then lowercase letters, digits and hyphens; at most 63. */
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** Multiaddrs it can be reached at; may be empty. */
  readonly addresses: readonly string[];
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
  if (!hasExactly(value, ['cluster', 'members', 'seed', 'v'])) {
    return 'a genesis entry has exactly the fields cluster, members, seed and v';
  }
  if (value.v !== 1) return 'this is not version 1 of the genesis format';
  if (!isName(value.cluster)) return 'the cluster has no name of lowercase letters, digits and hyphens';
  const seed = typeof value.seed === 'string' ? fromBase32(value.seed) : undefined;
  if (seed === undefined || seed.length < seedBytesMin || seed.length > seedBytesMax) {
    return `the seed is not ${seedBytesMin} to ${seedBytesMax} bytes in base32`;
  }
  const members = value.members;
  if (!Array.isArray(members) || members.length === 0 || members.length > membersMax) {
    return `a cluster has 1 to ${membersMax} members`;
  }
  return checkMembers(members);
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

function checkMember(member: unknown): string | undefined {
  if (!hasExactly(member, ['addresses', 'name', 'nodeId', 'peerId'])) {
    return 'a member has exactly the fields addresses, name, nodeId and peerId';
  }
  const { name, nodeId, peerId, addresses } = member;
  if (!isName(name)) return 'the name is not lowercase letters, digits and hyphens';
  if (typeof nodeId !== 'string' || !isNodeId(nodeId)) return 'the node id is not 26 characters of base32';
  if (typeof peerId !== 'string' || publicKeyOf(peerId) === undefined) return 'the peer id is not an ed25519 key';
  if (!Array.isArray(addresses) || addresses.length > memberAddressesMax) {
    return `addresses are a list of at most ${memberAddressesMax}`;
  }
  return addresses.every(isAddress) ? undefined : 'an address is not a multiaddr';
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && namePattern.test(value);
}

function isAddress(value: unknown): value is string {
  return typeof value === 'string' && value.length <= addressLengthMax && addressPattern.test(value);
}
