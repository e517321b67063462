import {
  type Certificate,
  controlLogRegister,
  isSameValue,
  linkHash,
  type RegisterValue,
  verifyCertificate,
} from './certificate.ts';
import { type ControlEntry, type EntryText, encodeEntry } from './control/entry.ts';
import type { GrowingIndex } from './control/growing-index.ts';
import { type ControlMember, coordinatorsMax, membersMax } from './control/member.ts';
import type { AdmitOperation, ControlOperation } from './control/operations.ts';
import { type ControlState, type CoordinatorEpoch, coordinatorsOf, votersAmong } from './control/state.ts';
import { toBase32 } from './digest.ts';
import { err, type NodeId, ok, type Result } from './ids.ts';
import { appendLeaf, leafHash, rootOf } from './merkle-log.ts';

/** Namespaces with a policy, and scopes with a configuration, at most: each is in every node's memory. */
const namespacesMax = 1_024;
const scopesMax = 1_024;

/** Why an entry does not follow from a state. */
type ControlRefusalCode =
  | 'malformed'
  | 'operation_committed'
  | 'wrong_position'
  | 'wrong_previous'
  | 'wrong_root'
  | 'wrong_epoch'
  | 'name_taken'
  | 'node_taken'
  | 'key_taken'
  | 'key_removed'
  | 'unknown_node'
  | 'last_coordinator'
  | 'too_many_coordinators'
  | 'several_coordinator_changes'
  | 'carry_over_running'
  | 'too_many';

export interface ControlRefusal {
  readonly code: ControlRefusalCode;
  /** A sentence for the person who asked. */
  readonly message: string;
  /** With `operation_committed`: the entry that has the operation. */
  readonly seq?: number;
}

/** What an administrator asks for; the rest of an entry follows from the state. */
export type EntryFields = Pick<ControlEntry, 'operations' | 'actor' | 'reason' | 'time'>;

/**
 * The state after one more entry. Pure, and the only way in which a state changes, so nodes that hold the same
 * entries agree. An entry has all its effects or, refused, none.
 *
 * An operation whose id is in the log already refuses the entry before anything else does, with the position of
 * the entry that has it: to who tries again, that is the answer.
 *
 * An entry changes at most one coordinator, in the sum of its operations: then a majority of the old set and one
 * of the new set have a member in common.
 */
export function foldEntry(state: ControlState, { entry, text, hash }: EntryText): Result<ControlState, ControlRefusal> {
  const misplaced = checkRepetition(state, entry) ?? checkPlace(state, entry);
  if (misplaced !== undefined) return err(misplaced);
  let next: ControlState = state;
  for (const [index, operation] of entry.operations.entries()) {
    const applied = applyOperation(next, operation, entry.seq);
    if (!applied.ok) {
      const { code, message } = applied.error;
      return err(refusal(code, `operation ${index + 1} (${operation.type}): ${message}`));
    }
    next = applied.value;
  }
  const epoch = nextEpoch(state, next, entry.seq);
  if (!epoch.ok) return epoch;
  return ok({
    ...next,
    seq: entry.seq,
    hash,
    link: linkHash(state.cluster, controlLogRegister, registerValueOf(state, { entry, hash })),
    tree: appendLeaf(state.tree, leafHash(Buffer.from(text, 'utf8'))).peaks,
    operations: state.operations.with(entry.operations.map(({ id }) => [id, entry.seq])),
    ...(epoch.value === undefined ? {} : { epoch: epoch.value.epoch, epochs: [...state.epochs, epoch.value] }),
  });
}

/** The value of the register `control-log` that holds an entry which follows a state. */
export function registerValueOf(
  state: ControlState,
  { entry, hash }: Pick<EntryText, 'entry' | 'hash'>,
): RegisterValue {
  return { position: entry.seq, head: hash, previous: state.link };
}

/**
 * Why a certificate does not prove that an entry which follows a state was chosen; undefined when it does.
 * Those who vote before an entry certify it, also when it changes who votes: no set lets itself in.
 */
export function checkEntryCertificate(
  state: ControlState,
  entry: EntryText,
  certificate: Certificate,
): string | undefined {
  const { statement } = certificate;
  if (statement.register !== controlLogRegister) return 'its certificate is of another register';
  if (statement.head !== entry.hash)
    return `its text has the hash ${entry.hash}, its certificate says ${statement.head}`;
  if (!isSameValue(statement, registerValueOf(state, entry))) return 'its certificate is of another place in the log';
  if (statement.epoch !== state.epoch) {
    return `its certificate is of epoch ${statement.epoch}, and the entries before it leave epoch ${state.epoch}`;
  }
  const coordinators = coordinatorsOf(state);
  if (verifyCertificate(certificate, { cluster: state.cluster, coordinators })) return undefined;
  return `its certificate has no valid signatures of a majority of the ${coordinators.length} coordinators`;
}

/** The entry that would follow a state, if the state allows it; otherwise why not. */
export function draftEntry(state: ControlState, fields: EntryFields): Result<EntryText, ControlRefusal> {
  const { operations, actor, reason, time } = fields;
  const encoded = encodeEntry({
    v: 1,
    seq: state.seq + 1,
    previous: state.hash,
    root: treeRoot(state),
    operations,
    actor,
    reason,
    time,
    epoch: state.epoch,
  });
  if (!encoded.ok) return err(refusal('malformed', encoded.error));
  // The state it leads to is thrown away, so its ids need not become a second future of the index.
  const committed: GrowingIndex<number> = { get: (id) => state.operations.get(id), with: () => state.operations };
  const folded = foldEntry({ ...state, operations: committed }, encoded.value);
  return folded.ok ? encoded : folded;
}

/** The RFC 6962 root over the texts of a state's entries, the genesis included, in base32. */
export function treeRoot({ tree }: ControlState): string {
  return toBase32(rootOf(tree));
}

function checkRepetition(state: ControlState, entry: ControlEntry): ControlRefusal | undefined {
  for (const { id } of entry.operations) {
    const seq = state.operations.get(id);
    if (seq !== undefined) {
      return { code: 'operation_committed', message: `operation ${id} is in entry ${seq} already`, seq };
    }
  }
  return undefined;
}

function checkPlace(state: ControlState, entry: ControlEntry): ControlRefusal | undefined {
  if (entry.seq !== state.seq + 1) {
    return refusal('wrong_position', `it says it is entry ${entry.seq}, and the next one is entry ${state.seq + 1}`);
  }
  if (entry.previous !== state.hash) {
    return refusal('wrong_previous', `it follows ${entry.previous}, and entry ${state.seq} is ${state.hash}`);
  }
  const root = treeRoot(state);
  if (entry.root !== root) {
    return refusal('wrong_root', `it says the entries before it have the root ${entry.root}, and they have ${root}`);
  }
  if (entry.epoch === state.epoch) return undefined;
  return refusal('wrong_epoch', `it says it is of epoch ${entry.epoch}, and entry ${state.seq} left ${state.epoch}`);
}

type Applied = Result<ControlState, ControlRefusal>;

function applyOperation(state: ControlState, operation: ControlOperation, seq: number): Applied {
  switch (operation.type) {
    case 'admit':
      return admit(state, operation);
    case 'remove':
      return withMember(state, operation.nodeId, (member) => remove(state, member, seq));
    case 'roles':
      return withMember(state, operation.nodeId, (member) => put(state, { ...member, roles: operation.roles }));
    case 'labels':
      return withMember(state, operation.nodeId, (member) => put(state, { ...member, labels: operation.labels }));
    case 'addresses':
      return withMember(state, operation.nodeId, (member) => put(state, { ...member, addresses: operation.addresses }));
    case 'capacity':
      return withMember(state, operation.nodeId, (member) => put(state, { ...member, capacity: operation.capacity }));
    case 'drain':
      return withMember(state, operation.nodeId, ({ draining: _was, ...member }) =>
        put(state, operation.draining ? { ...member, draining: true } : member),
      );
    case 'namespace': {
      const namespaces = new Map(state.namespaces).set(operation.ns, operation.policy);
      if (namespaces.size > namespacesMax) return tooMany(`at most ${namespacesMax} namespaces have a policy`);
      return ok({ ...state, namespaces });
    }
    case 'configuration': {
      const configuration = new Map(state.configuration).set(operation.scope, operation.values);
      if (Object.keys(operation.values).length === 0) configuration.delete(operation.scope);
      if (configuration.size > scopesMax) return tooMany(`at most ${scopesMax} scopes have a configuration`);
      return ok({ ...state, configuration });
    }
  }
}

function admit(state: ControlState, { member }: AdmitOperation): Applied {
  const { name, nodeId, peerId } = member;
  if (state.members.has(nodeId)) return err(refusal('node_taken', `node ${nodeId} is a member already`));
  for (const other of state.members.values()) {
    if (other.name === name) return err(refusal('name_taken', `the name ${name} is that of node ${other.nodeId}`));
    if (other.peerId === peerId) {
      return err(refusal('key_taken', `the key ${peerId} is that of ${other.name} (node ${other.nodeId})`));
    }
  }
  const removed = state.removed.get(peerId);
  if (removed !== undefined) {
    return err(refusal('key_removed', `the key ${peerId} was removed by entry ${removed.seq}: a new key is needed`));
  }
  if (state.members.size >= membersMax) return tooMany(`a cluster has at most ${membersMax} members`);
  return put(state, member);
}

function remove(state: ControlState, { name, nodeId, peerId }: ControlMember, seq: number): Applied {
  const members = new Map(state.members);
  members.delete(nodeId);
  return ok({ ...state, members, removed: state.removed.with([[peerId, { name, nodeId, peerId, seq }]]) });
}

function put(state: ControlState, member: ControlMember): Applied {
  return ok({ ...state, members: new Map(state.members).set(member.nodeId, member) });
}

function withMember(state: ControlState, nodeId: NodeId, change: (member: ControlMember) => Applied): Applied {
  const member = state.members.get(nodeId);
  return member === undefined ? err(refusal('unknown_node', `node ${nodeId} is no member`)) : change(member);
}

/** The set of coordinators that an entry makes, or undefined when it leaves them as they are. */
function nextEpoch(
  before: ControlState,
  after: ControlState,
  seq: number,
): Result<CoordinatorEpoch | undefined, ControlRefusal> {
  if (after.members === before.members) return ok(undefined);
  const old = new Set(coordinatorsOf(before).map(({ nodeId, peerId }) => `${nodeId} ${peerId}`));
  const coordinators = votersAmong(after.members);
  const kept = coordinators.filter(({ nodeId, peerId }) => old.has(`${nodeId} ${peerId}`)).length;
  const changes = old.size - kept + coordinators.length - kept;
  if (changes === 0) return ok(undefined);
  if (coordinators.length === 0) {
    return err(refusal('last_coordinator', 'no coordinator would be left, and nobody could decide anything any more'));
  }
  if (changes > 1) {
    const message = `an entry changes at most one coordinator, and this one changes ${changes}`;
    return err(refusal('several_coordinator_changes', message));
  }
  if (coordinators.length > coordinatorsMax) {
    return err(refusal('too_many_coordinators', `a cluster has at most ${coordinatorsMax} coordinators`));
  }
  return ok({ epoch: before.epoch + 1, coordinators, fromSeq: seq });
}

function tooMany(message: string): Applied {
  return err(refusal('too_many', message));
}

function refusal(code: ControlRefusalCode, message: string): ControlRefusal {
  return { code, message };
}
