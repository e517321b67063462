import { hasExactly } from '../canonical-json.ts';
import type { NodeId, PeerId } from '../ids.ts';
import { isNodeId } from '../node-name.ts';
import { publicKeyOf } from '../signature.ts';

/** Addresses of a member, and characters of one. */
const memberAddressesMax = 16;
const addressLengthMax = 256;
/** Labels of a member: places and kinds of machine, not a data base. */
const labelsMax = 32;

/** Names of clusters and members stand in file names, commands and logs. */
const namePattern = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** A multiaddr in text: visible ASCII that starts with a slash. What it means is for the network to judge. */
const addressPattern = /^\/[!-~]+$/;
/** Label names and values as other schedulers have them, so that labels can be taken over from there. */
const labelNamePattern = /^[a-z0-9][a-z0-9./-]{0,62}$/;
const labelValuePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** What a node does: votes and holds all metadata, holds content, or only follows what concerns it. */
export type Role = 'agent' | 'coordinator' | 'storage';

const roles: readonly string[] = ['agent', 'coordinator', 'storage'] satisfies Role[];

/** What a member does that does not say. */
export const defaultRoles: readonly Role[] = ['storage'];

/** Active members of a cluster, at most. */
export const membersMax = 1_024;
/** Coordinators, at most: each more makes a majority slower and protects against less likely failures. */
export const coordinatorsMax = 7;

/** Label names to values, such as `{dc: 'fra1', rack: 'a4'}`; at most 32. */
export type Labels = Readonly<Record<string, string>>;

/** A member of the cluster, as the control log says it is. */
export interface ControlMember {
  /** What people call it: a lowercase letter or digit, then lowercase letters, digits and hyphens; at most 63. */
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** Multiaddrs it can be reached at; may be empty. */
  readonly addresses: readonly string[];
  /** At least one, in ascending order. */
  readonly roles: readonly Role[];
  readonly labels: Labels;
  /** How much it holds compared with the others, as a step (see `capacity.ts`); absent when nobody said. */
  readonly capacity?: number;
  /** True while its content is to move elsewhere; absent otherwise. */
  readonly draining?: true;
}

/** A member as it is admitted: what is said of it later has operations of its own. */
export type AdmittedMember = Omit<ControlMember, 'capacity' | 'draining'>;

const memberFields = ['addresses', 'labels', 'name', 'nodeId', 'peerId', 'roles'];

/** Undefined when the value is an `AdmittedMember` with exactly its fields; otherwise a sentence that says why not. */
export function checkMember(value: unknown): string | undefined {
  if (!hasExactly(value, memberFields)) return `a member has exactly the fields ${memberFields.join(', ')}`;
  return checkMemberIdentity(value) ?? checkRoles(value.roles) ?? checkLabels(value.labels);
}

/** The half of `checkMember` that looks at name, ids and addresses, and at no other field. */
export function checkMemberIdentity(member: Readonly<Record<string, unknown>>): string | undefined {
  const { name, nodeId, peerId, addresses } = member;
  if (!isMemberName(name)) return 'the name is not lowercase letters, digits and hyphens';
  if (typeof nodeId !== 'string' || !isNodeId(nodeId)) return 'the node id is not 26 characters of base32';
  if (typeof peerId !== 'string' || publicKeyOf(peerId) === undefined) return 'the peer id is not an ed25519 key';
  return checkAddresses(addresses);
}

/** Undefined when the value is a list of multiaddrs, which may be empty; otherwise a sentence that says why not. */
export function checkAddresses(value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length > memberAddressesMax) {
    return `addresses are a list of at most ${memberAddressesMax}`;
  }
  return value.every(isAddress) ? undefined : 'an address is not a multiaddr';
}

/** Undefined when the value is a list of roles, each once, in ascending order; otherwise a sentence that says why not. */
export function checkRoles(value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length === 0) return 'roles are a list of at least one';
  if (!value.every((role) => roles.includes(role))) return `a role is one of ${roles.join(', ')}`;
  return isAscending(value) ? undefined : 'roles are not in ascending order, each once';
}

/** Undefined when the value is a set of labels; otherwise a sentence that says why not. */
export function checkLabels(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'labels are not an object';
  const entries = Object.entries(value);
  if (entries.length > labelsMax) return `a member has at most ${labelsMax} labels`;
  for (const [name, text] of entries) {
    const fault = checkLabelName(name) ?? checkLabelValue(text);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** Undefined when the text can name a label; otherwise a sentence that says why not. */
export function checkLabelName(name: string): string | undefined {
  if (labelNamePattern.test(name)) return undefined;
  return 'a label name is not 1 to 63 lowercase letters, digits, dots, slashes and hyphens';
}

/** Undefined when the value can be a label's; otherwise a sentence that says why not. */
export function checkLabelValue(value: unknown): string | undefined {
  if (typeof value === 'string' && labelValuePattern.test(value)) return undefined;
  return 'a label value is not 1 to 63 letters, digits, dots, underscores and hyphens';
}

/** True when a member votes. */
export function isCoordinator({ roles }: Pick<ControlMember, 'roles'>): boolean {
  return roles.includes('coordinator');
}

/** True for the name of a cluster or a member. */
export function isMemberName(value: unknown): value is string {
  return typeof value === 'string' && namePattern.test(value);
}

/** True when each text is less than the next. */
export function isAscending(texts: readonly string[]): boolean {
  return texts.every((text, at) => at === 0 || (texts[at - 1] as string) < text);
}

function isAddress(value: unknown): value is string {
  return typeof value === 'string' && value.length <= addressLengthMax && addressPattern.test(value);
}
