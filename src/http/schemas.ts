import { z } from 'zod';
import { pageEntriesMax } from './limits.ts';

/**
 * The shapes of the API, once: requests are parsed with them, the OpenAPI document is made of them, and tests
 * hold every example and every answer of a live server against them. Answers are not parsed on the way out.
 */

/** Schemas that the OpenAPI document names; the rest stand inline. */
export const namedSchemas = z.registry<{ id: string }>();

export function named<Schema extends z.ZodType>(schema: Schema, id: string, description: string): Schema {
  const described = schema.describe(description) as Schema;
  namedSchemas.add(described, { id });
  return described;
}

export const count = z.int().min(0);
/** BLAKE3 in base32: 256 bits leave one bit for the last character. */
export const hash = /^[a-z2-7]{51}[aq]$/;

export const versionId = named(
  z.string().regex(hash),
  'VersionId',
  'BLAKE3 of the version record: 52 characters of lowercase base32.',
);
export const nodeId = named(
  z.string().regex(/^[a-z2-7]{26}$/),
  'NodeId',
  'A node, for life: 26 characters of lowercase base32.',
);
export const peerId = named(
  z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/),
  'PeerId',
  'A node’s current ed25519 key as a libp2p peer id.',
);
const b3 = named(
  z.string().regex(/^[0-9a-f]{64}$/),
  'B3',
  'BLAKE3 of the whole content in lowercase hex, as `b3sum` prints it.',
);
const kind = named(
  z.enum(['put', 'delete', 'merge']),
  'Kind',
  '`delete` is a tombstone; `merge` is a put with two or more parents.',
);
const state = named(
  z.enum(['provisional', 'confirmed']),
  'State',
  'Confirmed: the confirmed head or an ancestor of it.',
);
const meta = named(z.record(z.string(), z.string()), 'Meta', 'User metadata, at most 8 KiB in all.');
const time = z.number().describe('Milliseconds since the epoch, by the writer’s clock; for display only.');
const ns = z.string().regex(/^[a-z0-9][a-z0-9.-]{1,62}$/);
const key = z.string().min(1);
const heads = named(z.array(versionId).min(1), 'Heads', 'The versions no other supersedes, sorted.');

export const writtenVersion = named(
  z.strictObject({
    ns,
    key,
    version: versionId,
    kind,
    state,
    parents: z.array(versionId),
    generation: z.int().min(1),
    size: count.nullable(),
    b3: b3.nullable(),
    heads,
    conflict: z.boolean(),
  }),
  'WrittenVersion',
  'The version a write made, and the object’s heads after it. `size` and `b3` are null for a tombstone.',
);

const hashText = z.string().regex(hash);
const certificate = named(
  z.strictObject({
    statement: z.strictObject({
      v: z.literal(1),
      register: hashText,
      epoch: z.int().min(1),
      position: z.int().min(1),
      head: versionId,
      previous: hashText.nullable(),
      ballot: z.strictObject({ counter: z.int().min(0), proposer: z.string().regex(/^[a-z2-7]{26}\.[a-z2-7]{13}$/) }),
    }),
    signatures: z.array(z.tuple([nodeId, z.string().regex(/^[\w-]{86}$/)])).min(1),
    batch: z.strictObject({ index: z.int().min(0), size: z.int().min(2), path: z.array(hashText).min(1) }).optional(),
  }),
  'Certificate',
  'Signatures of a majority of an epoch’s coordinators under one statement, or under the `batch` of statements in which it has this place; docs/consistency.md says what it proves.',
);

export const confirmation = named(
  z.strictObject({
    ns,
    key,
    version: versionId,
    state: z.literal('confirmed'),
    confirmedHead: versionId,
    position: z.int().min(1),
    certificate,
  }),
  'Confirmation',
  'That a version is the confirmed head or an ancestor of it, with the proof. The register is the object’s document id.',
);

export const listing = named(
  z.strictObject({
    objects: z.array(
      z.strictObject({ key, version: versionId, heads: z.int().min(1), size: count.nullable(), state, time }),
    ),
    prefixes: z.array(z.string()),
    next: z.string().nullable(),
  }),
  'Listing',
  'A page of a namespace, ordered by the keys’ UTF-8 bytes. `next` is the `after` of the next page, or null.',
);

export const objectGraph = named(
  z.strictObject({
    versions: z.array(
      z.strictObject({
        version: versionId,
        kind,
        state,
        parents: z.array(versionId),
        generation: z.int().min(1),
        dot: z.strictObject({ actor: z.string().regex(/^[a-z2-7]{26}\.[a-z2-7]{13}$/), counter: z.int().min(1) }),
        author: z.string(),
        node: nodeId,
        time,
        size: count.nullable(),
        b3: b3.nullable(),
        type: z.string(),
        meta,
      }),
    ),
    heads,
    preferred: versionId,
    confirmedHead: versionId.nullable(),
  }),
  'ObjectGraph',
  'Every version of one object, parents before children, and what is preferred among them.',
);

const conflict = named(
  z.strictObject({ ns, key, heads, preferred: versionId }),
  'Conflict',
  'An object with two or more heads.',
);

export const conflictPage = named(
  z.strictObject({ conflicts: z.array(conflict), next: z.string().nullable() }),
  'ConflictPage',
  'A page of conflicts. `next` is the `after` of the next page, or null.',
);

const quorumState = {
  epoch: z.int().min(1),
  coordinators: count,
  reachable: count,
  available: z.boolean(),
};

export const roles = named(
  z.array(z.enum(['agent', 'coordinator', 'storage'])).min(1),
  'Roles',
  'What the node does, in ascending order, each once: `coordinator` votes, `storage` holds content, `agent` only follows.',
);
export const labels = named(z.record(z.string(), z.string()), 'Labels', 'Where and what the node is; at most 32.');

export const capacityStep = named(
  z.int().min(1).max(64),
  'CapacityStep',
  'How much the node holds: 2^(step/2) GiB, so that two steps double it. 20 is 1 TiB.',
);

const nodeState = named(
  z.enum(['unknown', 'online', 'suspect', 'offline', 'draining']),
  'NodeState',
  'As the answering node sees it: `unknown` while it has seen nothing of it, `suspect` after 15 s of silence, `offline` after 60, `draining` while it lives and its content is to move elsewhere.',
);
const wholeNumber = z.int().min(0);

export const nodeList = named(
  z.strictObject({
    nodes: z.array(
      z.strictObject({
        nodeId,
        peerId,
        name: z.string(),
        state: nodeState,
        since: z.number(),
        self: z.boolean(),
        connected: z.boolean(),
        addresses: z.array(z.string()),
        url: z.string().nullable(),
        roles,
        labels,
        reportedLabels: labels,
        version: z.string().nullable(),
        capacityBytes: wholeNumber.nullable(),
        freeBytes: wholeNumber.nullable(),
        usedBytes: wholeNumber.nullable(),
        load: wholeNumber.nullable(),
        lastHeartbeatMs: wholeNumber.nullable(),
        clockOffsetMs: z.int().nullable(),
        capacity: capacityStep.nullable(),
        draining: z.boolean(),
      }),
    ),
  }),
  'NodeList',
  'The members of the mesh. `labels` and `roles` are what the control log says; `reportedLabels`, `url` and `version` what the node says of itself; bytes, `load` (how late its timers are, in ms) and `lastHeartbeatMs` (its age) come from its newest heartbeat, and are null when none was heard; `clockOffsetMs` is how far its clock is ahead of the answering node’s, where that is known.',
);

export const carryStatus = z.strictObject({
  epoch: z.int().min(1),
  carried: count,
  done: count,
  total: count,
  complete: z.boolean(),
});

const membership = z.strictObject({
  state: z.enum(['member', 'pending', 'removed', 'turned_away']),
  removedBy: z.int().min(1).nullable(),
  turnedAwayBy: count,
});

export const nodeStatus = named(
  z.strictObject({
    cluster: z.string().regex(hash),
    clusterName: z.string(),
    nodeId,
    peerId,
    name: z.string(),
    version: z.string(),
    incarnation: z.string(),
    ready: z.boolean(),
    uptimeMs: z.number().min(0),
    objects: count,
    versions: count,
    conflicts: count,
    confirmed: count,
    provisional: count,
    quorum: z.strictObject({ ...quorumState, pending: count, waitingForCopies: count }),
    pendingContent: count,
    records: z.strictObject({ damaged: count }),
    content: z.strictObject({ dead: count, damaged: count, incomplete: count, scrubbedAt: z.number().nullable() }),
    peers: z.strictObject({ connected: count, known: count }),
    disk: z.strictObject({ capacityBytes: z.number().min(0), freeBytes: z.number().min(0) }),
    control: z.strictObject({
      seq: count,
      hash: z.string().regex(hash),
      epoch: z.int().min(1),
      coordinator: z.boolean(),
      coordinators: z.array(nodeId),
      restored: z.array(nodeId),
      forked: z
        .strictObject({
          seq: z.int().min(1),
          ours: z.string().regex(hash),
          theirs: z.string().regex(hash),
          nodeId: nodeId.nullable(),
        })
        .nullable(),
      carryOver: carryStatus.nullable(),
    }),
    membership,
    slots: z.strictObject({ count, kept: count, held: count, leaving: count }),
  }),
  'NodeStatus',
  'The answering node. `quorum` tells whether it can have anything confirmed now, how many objects wait for that, and how many of these for copies of their content first; `pendingContent` counts contents it wants and does not hold whole yet; `records` counts versions whose record was found damaged on its disk and is not mended yet; `content` counts contents that were given up (`dead`), and those that were whole on its disk and are not now, because something of them rotted (`damaged`) or is not there (`incomplete`), until they are mended; `control` is where its control log ends (`forked` names two certified entries of one place, `ours` and `theirs` by their hashes, when a member has another than this node); `membership` is what it is to the cluster: `removed` by an entry of the log, for good, or `turned_away` by members while its own log says that it is one; `slots` is how many of the shares of the metadata there are, this node is to hold, answers for, and has still to hand over.',
);

const eventOf = <Type extends string, Data extends z.ZodType>(type: Type, data: Data) =>
  z.strictObject({ id: count, type: z.literal(type), data });

export const meshEvent = named(
  z.discriminatedUnion('type', [
    eventOf('version', z.strictObject({ ns, key, version: versionId, kind, node: nodeId, heads })),
    eventOf('conflict', conflict),
    eventOf('confirmed', z.strictObject({ ns, key, version: versionId, position: z.int().min(1) })),
    eventOf('quorum', z.strictObject(quorumState)),
    eventOf('membership', membership),
    eventOf('node', z.strictObject({ nodeId, name: z.string(), state: nodeState, since: z.number() })),
    eventOf(
      'replication',
      z.union([
        z.strictObject({ ns, key, version: versionId, status: z.enum(['stored', 'dead']) }),
        z.strictObject({ status: z.enum(['false_proof', 'unproved']), nodeId, manifest: versionId }),
      ]),
    ),
  ]),
  'MeshEvent',
  'One event: `id`, `event` (its type) and `data` (JSON) of the stream.',
);

export const health = named(
  z.strictObject({ status: z.enum(['ok', 'ready']) }),
  'Health',
  'The process runs, or serves.',
);

export const openApiDocument = named(
  z.looseObject({ openapi: z.literal('3.1.0') }),
  'OpenApiDocument',
  'This document.',
);

export const problem = named(
  z.looseObject({
    type: z.string().regex(/^urn:anabranch:problem:[a-z_]+$/),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string(),
    code: z.string().regex(/^[a-z_]+$/),
    progress: z
      .strictObject({ epoch: z.int().min(1), done: count, total: count })
      .optional()
      .describe('With `carry_over_running`: how many registers have reached the coordinators of the epoch.'),
  }),
  'Problem',
  'RFC 9457. `code` is stable; some codes carry more members beside these, such as `version`, `heads` or `progress`.',
);

/** The body of `POST /v1/merges/…`. Ids are judged by the node, which says which one is wrong and why. */
export const mergeBody = named(
  z.strictObject({ parents: z.array(z.string()).min(1), pick: z.string() }),
  'MergeBody',
  'The heads to join, and the one whose content the merge adopts.',
);

export const pageSize = z
  .string()
  .regex(/^[1-9]\d{0,3}$/, `a whole number from 1 to ${pageEntriesMax} is expected`)
  .transform(Number)
  .pipe(z.int().min(1).max(pageEntriesMax));
export const text = (description: string) => z.string().optional().describe(description);
const page = {
  after: text('Continue after this entry: the `next` of the page before.'),
  limit: pageSize.optional().describe('Entries on the page.'),
};
const commit = z
  .enum(['local', 'quorum'])
  .optional()
  .describe('When to answer: once flushed here (the default), or once a quorum has confirmed it.');

export const noParameters = z.strictObject({});
export const writeParameters = z.strictObject({
  parents: text(
    'The versions this write supersedes, separated by commas. All heads make a merge; none extends the tip.',
  ),
  commit,
});
export const mergeParameters = z.strictObject({ commit });
export const confirmationParameters = z.strictObject({
  version: text('The version to confirm; the newest one that is or descends from the preferred head when absent.'),
});
export const readParameters = z.strictObject({
  mode: z
    .enum(['preferred', 'confirmed_only', 'provisional_allowed'])
    .optional()
    .describe(
      'Which head to read; as the namespace has it when absent, which is `preferred` by default. Excludes `version`.',
    ),
  version: text('Read exactly this version. Excludes `mode`.'),
});
export const listParameters = z.strictObject({
  prefix: text('Only keys that start with this.'),
  delimiter: z.string().min(1).optional().describe('Roll keys up to this text after the prefix into `prefixes`.'),
  ...page,
});
export const conflictParameters = z.strictObject({ ns: text('Only this namespace.'), ...page });
