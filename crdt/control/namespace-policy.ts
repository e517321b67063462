import { type ChunkingParameters, checkChunking, defaultChunking } from '../chunking.ts';
import { checkLabelName, checkLabelValue, isAscending } from './member.ts';

/** Copies of an object's content, at most: past that more copies protect against nothing likely. */
const replicasMax = 16;
const replicasDefault = 3;
/** Labels that each part of a policy names, and values of one of them. */
const policyLabelsMax = 8;
const policyValuesMax = 64;

/** How content is cut, by name. All in bytes; see `ChunkingParameters`. Nodes rely on what they know here: names are added, never changed. */
export const chunkingProfiles = {
  /** Many small files, or files that change in small places. */
  small: { algorithm: 'fastcdc-1', min: 16 * 1024, average: 64 * 1024, max: 256 * 1024 },
  default: defaultChunking,
  /** Images and archives that rarely change. */
  large: { algorithm: 'fastcdc-1', min: 512 * 1024, average: 2 * 1024 * 1024, max: 4 * 1024 * 1024 },
} as const satisfies Record<string, ChunkingParameters>;

/** The name of one of the known ways to cut content. */
type ChunkingProfile = keyof typeof chunkingProfiles;

const readModes = ['preferred', 'confirmed_only', 'provisional_allowed'] as const;

/** What a namespace asks of its objects. Every field may be absent, which leaves the default. */
export interface NamespacePolicy {
  /** Copies of the content, 1 to 16; 3 by default. */
  readonly replicas?: number;
  /** Label to the least number of distinct values among the holders, such as `{dc: 2}`; never more than `replicas`. */
  readonly diversity?: Readonly<Record<string, number>>;
  /** Label to the values a holder must have one of, in ascending order. */
  readonly required?: Readonly<Record<string, readonly string[]>>;
  /** Label to the values a holder must have none of, in ascending order. */
  readonly forbidden?: Readonly<Record<string, readonly string[]>>;
  /** How content written from now on is cut: a profile's name, or the parameters; `default` by default. */
  readonly chunking?: ChunkingProfile | ChunkingParameters;
  /** The mode of reads that name none; `preferred` by default. */
  readonly readMode?: (typeof readModes)[number];
}

/** A policy with nothing left open. */
export interface EffectivePolicy extends Required<Omit<NamespacePolicy, 'chunking'>> {
  readonly chunking: ChunkingParameters;
}

/** What a policy, or its absence, comes to. */
export function effectivePolicy(policy: NamespacePolicy = {}): EffectivePolicy {
  const { chunking = 'default' } = policy;
  return {
    replicas: policy.replicas ?? replicasDefault,
    diversity: policy.diversity ?? {},
    required: policy.required ?? {},
    forbidden: policy.forbidden ?? {},
    chunking: typeof chunking === 'string' ? chunkingProfiles[chunking] : chunking,
    readMode: policy.readMode ?? 'preferred',
  };
}

/** Undefined when the value is a `NamespacePolicy`; otherwise a sentence that says why not. Never throws. */
export function checkNamespacePolicy(value: unknown): string | undefined {
  if (!isObject(value)) return 'a policy is an object';
  for (const [field, part] of Object.entries(value)) {
    const check = Object.hasOwn(checks, field) ? checks[field] : undefined;
    if (check === undefined) return `a policy has no field ${JSON.stringify(field)}`;
    const fault = check(part);
    if (fault !== undefined) return fault;
  }
  return checkTogether(value as NamespacePolicy);
}

const checks: Readonly<Record<string, (part: unknown) => string | undefined>> = {
  replicas: (part) => (isCount(part) ? undefined : `replicas is not an integer from 1 to ${replicasMax}`),
  diversity: (part) => checkLabelled('diversity', part, (least) => (isCount(least) ? undefined : notCounted)),
  required: (part) => checkLabelled('required', part, checkValues),
  forbidden: (part) => checkLabelled('forbidden', part, checkValues),
  chunking: checkChunkingChoice,
  readMode: (part) =>
    readModes.some((mode) => mode === part) ? undefined : `readMode is one of ${readModes.join(', ')}`,
  // The name is kept for what this format will say one day about how long versions stay.
  retention: () => 'retention is reserved: this version of the policy format does not know it',
};

const notCounted = `the number of distinct values is not an integer from 1 to ${replicasMax}`;

function checkChunkingChoice(part: unknown): string | undefined {
  if (typeof part === 'string') {
    if (Object.hasOwn(chunkingProfiles, part)) return undefined;
    return `chunking is one of ${Object.keys(chunkingProfiles).join(', ')}, or the parameters themselves`;
  }
  const checked = checkChunking(part);
  return checked.ok ? undefined : checked.error;
}

function checkLabelled(
  field: string,
  part: unknown,
  check: (value: unknown) => string | undefined,
): string | undefined {
  if (!isObject(part)) return `${field} is not an object of labels`;
  const entries = Object.entries(part);
  if (entries.length > policyLabelsMax) return `${field} names more than ${policyLabelsMax} labels`;
  for (const [label, value] of entries) {
    const fault = checkLabelName(label) ?? check(value);
    if (fault !== undefined) return `${field}: ${fault}`;
  }
  return undefined;
}

function checkValues(values: unknown): string | undefined {
  if (!Array.isArray(values) || values.length === 0 || values.length > policyValuesMax) {
    return `the values are not a list of 1 to ${policyValuesMax}`;
  }
  for (const value of values) {
    const fault = checkLabelValue(value);
    if (fault !== undefined) return fault;
  }
  return isAscending(values) ? undefined : 'the values are not in ascending order, each once';
}

/** What no part of a policy shows alone: that one node could never do what it asks. */
function checkTogether(policy: NamespacePolicy): string | undefined {
  const { replicas, diversity, required, forbidden } = effectivePolicy(policy);
  for (const [label, least] of Object.entries(diversity)) {
    if (least > replicas) return `${replicas} replicas cannot have ${least} distinct values of ${label}`;
  }
  for (const [label, values] of Object.entries(required)) {
    const refused = Object.hasOwn(forbidden, label) ? (forbidden[label] ?? []) : [];
    if (values.every((value) => refused.includes(value))) return `every required value of ${label} is forbidden`;
  }
  return undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= replicasMax;
}
