import { z } from 'zod';
import {
  capacityStep,
  carryStatus,
  count,
  hash,
  labels,
  named,
  nodeId,
  pageSize,
  peerId,
  roles,
  text,
} from './schemas.ts';

/** The shapes of the calls about the cluster: its control log, members, namespaces and configuration. */

const logHash = named(
  z.string().regex(hash),
  'LogHash',
  'BLAKE3 of an entry of the control log: 52 characters of lowercase base32.',
);
const operationId = named(
  z.string().regex(/^[a-z2-7]{26,64}$/),
  'OperationId',
  '26 to 64 characters of lowercase base32, unique in the log: the same call made again under it is done once.',
);
const seq = z.int().min(1);
const merkleHash = z.string().regex(hash).describe('SHA-256 of RFC 6962 in lowercase base32.');
const values = z.record(z.string(), z.unknown());

export const committedChange = named(
  z.strictObject({ seq, hash: logHash, operationId }),
  'CommittedChange',
  'The entry of the control log that has the change.',
);

const certificate = named(
  z.strictObject({
    statement: z.strictObject({
      v: z.literal(1),
      register: z.string(),
      epoch: z.int().min(1),
      position: z.int().min(1),
      head: z.string().regex(hash),
      previous: z.string().regex(hash).nullable(),
      ballot: z.strictObject({ counter: z.int().min(0), proposer: z.string() }),
    }),
    signatures: z.array(z.tuple([nodeId, z.string()])).min(1),
    batch: z
      .strictObject({ index: z.int().min(0), size: z.int().min(2), path: z.array(z.string().regex(hash)).min(1) })
      .optional(),
  }),
  'Certificate',
  'Signatures of a majority of the coordinators of an epoch under one statement, or under the `batch` it has a place in.',
);

const operation = named(
  z.looseObject({ id: operationId, type: z.string() }),
  'Operation',
  'One thing that was done; the other fields are those of its type.',
);

const loggedEntry = named(
  z.strictObject({
    seq,
    hash: logHash,
    entry: z.strictObject({
      v: z.literal(1),
      seq,
      previous: logHash,
      root: merkleHash,
      operations: z.array(operation).min(1),
      actor: z.string(),
      reason: z.string(),
      time: z.number(),
      epoch: z.int().min(1),
    }),
    certificate,
  }),
  'LoggedEntry',
  'An entry with the certificate that proves it. Its hash is that of its canonical JSON (RFC 8785).',
);

export const logListing = named(
  z.strictObject({ entries: z.array(loggedEntry), next: seq.nullable() }),
  'LogListing',
  'Entries in order. `next` is the `after` of the next page, or null.',
);

/** The genesis entry: `cluster` and `members`, as `decodeGenesis` reads it. */
export const genesisEntry = named(
  z.looseObject({
    v: z.literal(1),
    cluster: z.string(),
    seed: z.string(),
    members: z.array(z.looseObject({ nodeId })),
  }),
  'Genesis',
  'Entry 0. BLAKE3 of exactly these bytes is the cluster’s id.',
);

export const checkpoint = named(
  z.strictObject({ cluster: logHash, size: seq, root: merkleHash, certificate: certificate.nullable() }),
  'Checkpoint',
  'Where the log ends: entries with the genesis, the root over their texts, and the last entry’s certificate.',
);

const proofFields = { size: seq, root: merkleHash, path: z.array(merkleHash) };
export const inclusionProof = named(
  z.strictObject({ seq: count, hash: logHash, ...proofFields }),
  'InclusionProof',
  'RFC 6962 2.1.1: that the entry is in the tree of the first `size` entries.',
);
export const consistencyProof = named(
  z.strictObject({ first: seq, ...proofFields }),
  'ConsistencyProof',
  'RFC 6962 2.1.2: that the tree of `size` entries only adds to that of `first`.',
);

const policy = named(
  z.looseObject({ replicas: z.int().optional() }),
  'NamespacePolicy',
  '`replicas`, `diversity`, `required`, `forbidden`, `chunking` and `readMode`; what is left open has its default.',
);
export const namespaceInfo = named(
  z.strictObject({ ns: z.string(), policy, effective: policy }),
  'NamespaceInfo',
  'A namespace’s policy as it was set, and with its defaults.',
);
export const namespaceList = named(
  z.strictObject({ namespaces: z.array(namespaceInfo) }),
  'NamespaceList',
  'The namespaces that have a policy of their own, by name.',
);
export const scopeConfiguration = named(
  z.strictObject({ scope: z.string(), values }),
  'ScopeConfiguration',
  'What one scope has set; no values when nothing is.',
);
export const configurationList = named(
  z.strictObject({ configuration: z.array(scopeConfiguration) }),
  'ConfigurationList',
  'The scopes that have a configuration, by name.',
);

export const carryOver = named(
  carryStatus,
  'CarryOver',
  'How far the registers have come to the present coordinators: `done` of `total`, of which `carried` were proposed again.',
);

/** Bodies. What they say is judged by the fold, which answers with a sentence; here only their form is. */
export const admitBody = named(
  z.strictObject({
    name: z.string(),
    nodeId,
    peerId,
    addresses: z.array(z.string()).optional(),
    roles: roles.optional(),
    labels: labels.optional(),
  }),
  'AdmitBody',
  'The member to admit; `roles` is `["storage"]` when absent.',
);
export const rolesBody = named(z.strictObject({ roles }), 'RolesBody', 'The roles the member has from now on.');
export const labelsBody = named(z.strictObject({ labels }), 'LabelsBody', 'The labels the member has from now on.');
export const addressesBody = named(
  z.strictObject({ addresses: z.array(z.string()) }),
  'AddressesBody',
  'The multiaddrs the member is dialled at from now on; with none it has to connect by itself.',
);
export const capacityBody = named(
  z.strictObject({ capacity: capacityStep }),
  'CapacityBody',
  'The capacity the member has from now on.',
);
export const policyBody = named(z.strictObject({ policy }), 'PolicyBody', 'The policy from now on.');
export const valuesBody = named(
  z.strictObject({ values }),
  'ValuesBody',
  'The settings from now on; none removes the scope.',
);

const position = z
  .string()
  .regex(/^(0|[1-9]\d{0,14})$/, 'a whole number is expected')
  .transform(Number)
  .pipe(z.int());

export const changeParameters = z.strictObject({ reason: text('Why, in your words: it is part of the entry.') });
export const logParameters = z.strictObject({
  after: position.optional().describe('Entries after this one; 0, the genesis, when absent.'),
  limit: pageSize.optional().describe('Entries on the page.'),
});
export const proofParameters = z.strictObject({
  seq: position.optional().describe('The entry. Needed.'),
  size: position.optional().describe('Entries in the tree; all of them when absent.'),
});
export const consistencyParameters = z.strictObject({
  first: position.optional().describe('Entries in the smaller tree. Needed.'),
  size: position.optional().describe('Entries in the greater tree; all of them when absent.'),
});
export const idempotencyKey = operationId;
