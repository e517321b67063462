import { encodeCanonical, hasExactly } from '../canonical-json.ts';
import type { NodeId } from '../ids.ts';
import { isNodeId } from '../node-name.ts';
import { checkNamespace } from '../object-name.ts';
import { checkCapacity } from './capacity.ts';
import {
  type AdmittedMember,
  checkAddresses,
  checkLabels,
  checkMember,
  checkRoles,
  type Labels,
  type Role,
} from './member.ts';
import { checkNamespacePolicy, type NamespacePolicy } from './namespace-policy.ts';

/** Bytes of the canonical JSON of one scope's configuration. */
const configurationBytesMax = 16_384;

// 26 characters carry 128 bits, which nobody draws twice; more lets a caller use a hash.
const operationIdPattern = /^[a-z2-7]{26,64}$/;
/** What a configuration is for, such as `cluster`, `node/<nodeId>` or `group/<name>`. */
const scopePattern = /^[a-z0-9][a-z0-9.-]*(\/[a-z0-9][a-z0-9.-]*)*$/;
const scopeLengthMax = 128;
const settingNamePattern = /^[a-zA-Z][a-zA-Z0-9._-]{0,127}$/;

interface OperationOf<Type extends string> {
  /** 26 to 64 characters of base32, unique in the log: by it a retry finds that it was done already. */
  readonly id: string;
  readonly type: Type;
}

/** Takes a node in as a member. */
export interface AdmitOperation extends OperationOf<'admit'> {
  readonly member: AdmittedMember;
}

/** Puts a member out; its key never comes back. */
interface RemoveOperation extends OperationOf<'remove'> {
  readonly nodeId: NodeId;
}

/** Replaces a member's roles. */
interface RolesOperation extends OperationOf<'roles'> {
  readonly nodeId: NodeId;
  readonly roles: readonly Role[];
}

/** Replaces a member's labels. */
interface LabelsOperation extends OperationOf<'labels'> {
  readonly nodeId: NodeId;
  readonly labels: Labels;
}

/** Replaces the addresses a member is dialled at. */
interface AddressesOperation extends OperationOf<'addresses'> {
  readonly nodeId: NodeId;
  /** Multiaddrs; may be empty, and then the member has to connect by itself. */
  readonly addresses: readonly string[];
}

/** Says how much a member holds compared with the others. */
interface CapacityOperation extends OperationOf<'capacity'> {
  readonly nodeId: NodeId;
  /** A whole number from 1 to 64, see `capacity.ts`. */
  readonly capacity: number;
}

/** Has a member's content move elsewhere, or ends that: while it drains, nothing is placed on it. */
interface DrainOperation extends OperationOf<'drain'> {
  readonly nodeId: NodeId;
  readonly draining: boolean;
}

/** Replaces a namespace's policy. */
interface NamespaceOperation extends OperationOf<'namespace'> {
  readonly ns: string;
  readonly policy: NamespacePolicy;
}

/** Replaces the configuration of one scope; without values there is none any more. */
interface ConfigurationOperation extends OperationOf<'configuration'> {
  /** Names of lowercase letters, digits, dots and hyphens between slashes; at most 128 characters. */
  readonly scope: string;
  /** Names to any JSON; at most 16 KiB in canonical form. */
  readonly values: Readonly<Record<string, unknown>>;
}

/** One thing that an administrator did. */
export type ControlOperation =
  | AdmitOperation
  | RemoveOperation
  | RolesOperation
  | LabelsOperation
  | AddressesOperation
  | CapacityOperation
  | DrainOperation
  | NamespaceOperation
  | ConfigurationOperation;

/** The fields of each type beside `id` and `type`, and what is wrong with them, if anything. */
interface OperationForm {
  readonly fields: readonly string[];
  check(operation: Readonly<Record<string, unknown>>): string | undefined;
}

const forms: Readonly<Record<ControlOperation['type'], OperationForm>> = {
  admit: { fields: ['member'], check: ({ member }) => checkMember(member) },
  remove: { fields: ['nodeId'], check: ({ nodeId }) => checkNodeId(nodeId) },
  roles: { fields: ['nodeId', 'roles'], check: ({ nodeId, roles }) => checkNodeId(nodeId) ?? checkRoles(roles) },
  labels: { fields: ['labels', 'nodeId'], check: ({ nodeId, labels }) => checkNodeId(nodeId) ?? checkLabels(labels) },
  addresses: {
    fields: ['addresses', 'nodeId'],
    check: ({ nodeId, addresses }) => checkNodeId(nodeId) ?? checkAddresses(addresses),
  },
  capacity: {
    fields: ['capacity', 'nodeId'],
    check: ({ nodeId, capacity }) => checkNodeId(nodeId) ?? checkCapacity(capacity),
  },
  drain: {
    fields: ['draining', 'nodeId'],
    check: ({ nodeId, draining }) =>
      checkNodeId(nodeId) ?? (typeof draining === 'boolean' ? undefined : 'draining is neither true nor false'),
  },
  namespace: {
    fields: ['ns', 'policy'],
    check: ({ ns, policy }) =>
      typeof ns === 'string' ? (checkNamespace(ns) ?? checkNamespacePolicy(policy)) : 'ns is not text',
  },
  configuration: {
    fields: ['scope', 'values'],
    check: ({ scope, values }) => checkScope(scope) ?? checkValues(values),
  },
};

/**
 * Undefined when the value is a `ControlOperation` with exactly its fields; otherwise a sentence that says why not.
 * Whether it can be done is for the fold to say. Never throws.
 */
export function checkOperation(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'an operation is an object';
  const { id, type } = value as Readonly<Record<string, unknown>>;
  if (typeof id !== 'string' || !operationIdPattern.test(id)) return 'the id is not 26 to 64 characters of base32';
  if (typeof type !== 'string' || !Object.hasOwn(forms, type)) {
    return `the type is not one of ${Object.keys(forms).join(', ')}`;
  }
  const form = forms[type as ControlOperation['type']];
  const fields = [...form.fields, 'id', 'type'];
  if (!hasExactly(value, fields)) return `the operation ${type} has exactly the fields ${fields.join(', ')}`;
  return form.check(value);
}

function checkNodeId(value: unknown): string | undefined {
  return typeof value === 'string' && isNodeId(value) ? undefined : 'the node id is not 26 characters of base32';
}

/** Undefined when the value can be the scope of a configuration; otherwise a sentence that says why not. */
export function checkScope(scope: unknown): string | undefined {
  if (typeof scope === 'string' && scope.length <= scopeLengthMax && scopePattern.test(scope)) return undefined;
  return `the scope is not at most ${scopeLengthMax} lowercase letters, digits, dots and hyphens between slashes`;
}

function checkValues(values: unknown): string | undefined {
  if (typeof values !== 'object' || values === null || Array.isArray(values)) return 'values are not an object';
  const name = Object.keys(values).find((each) => !settingNamePattern.test(each));
  if (name !== undefined) {
    return 'the name of a setting is not a letter and then letters, digits, dots, underscores and hyphens, at most 128';
  }
  // What came through the decoder is JSON; what a caller hands in might not be.
  try {
    if (Buffer.byteLength(encodeCanonical(values), 'utf8') <= configurationBytesMax) return undefined;
  } catch {
    return 'the values are not JSON';
  }
  return `the values are longer than ${configurationBytesMax} bytes`;
}
