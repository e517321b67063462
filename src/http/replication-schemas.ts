import { z } from 'zod';
import { capacityStep, count, hash, labels, named, nodeId, pageSize, text, versionId } from './schemas.ts';

/** The shapes of the calls about where content should be and is. */

const ns = z.string();
const key = z.string();
const time = z.number().describe('Milliseconds since the epoch, for display.');
const presence = named(
  z.enum(['online', 'away', 'gone']),
  'Presence',
  'As the answering node sees it: `away` is offline and waited for, `gone` offline for longer than the repair delay.',
);
const presentNode = named(
  z.strictObject({ nodeId, name: z.string(), labels, presence }),
  'PresentNode',
  'A member, and whether it is there.',
);
const unanswered = named(
  z.array(z.strictObject({ nodeId, name: z.string(), presence })),
  'Unanswered',
  'Coordinators (and, of a drain, the node itself) that did not answer: what they alone know is missing.',
);
const lack = named(
  z.strictObject({
    kind: z.enum(['replicas', 'diversity']),
    label: z.string().nullable(),
    wanted: count,
    placed: count,
    message: z.string(),
    advice: z.string(),
  }),
  'PolicyLack',
  'What of a policy cannot be met with the nodes there are, in words in `message`; `advice` says what to do about it.',
);
const placementFields = {
  ns,
  key,
  policy: z.strictObject({
    replicas: z.int().min(1),
    diversity: z.record(z.string(), count),
    required: z.record(z.string(), z.array(z.string())),
    forbidden: z.record(z.string(), z.array(z.string())),
  }),
  desired: z.array(presentNode),
  substitutes: z.array(presentNode),
  lacks: z.array(lack),
};
export const placement = named(
  z.strictObject(placementFields),
  'ObjectPlacement',
  'Who should hold an object’s content by the control log, best first; who stands in for those that are gone; what cannot be met.',
);

const move = z.strictObject({
  ns,
  key,
  version: versionId,
  size: count,
  from: z.array(nodeId),
  to: z.array(nodeId),
  lacks: z.array(lack),
});
export const movePreview = named(
  z.strictObject({
    moves: z.array(move),
    totals: z.strictObject({ subjects: count, moved: count, copies: count, bytes: count, degraded: count }),
    nodes: z.array(
      z.strictObject({
        nodeId,
        name: z.string().nullable(),
        contentsIn: count,
        bytesIn: count,
        contentsOut: count,
        bytesOut: count,
      }),
    ),
    next: z.string().nullable(),
  }),
  'MovePreview',
  'What a change would move, of some thousand versions: the first moves, totals and nodes of the page. `next` is the `after` of the next page, or null.',
);

const totals = named(
  z.strictObject({
    subjects: count,
    healthy: count,
    under: count,
    mis: count,
    over: count,
    unreachable: count,
    degraded: count,
    pulls: count,
    pullBytes: count,
    waitingPulls: count,
    waitingBytes: count,
    surplusCopies: count,
    surplusBytes: count,
  }),
  'ReplicationTotals',
  'Versions with content: `healthy`, `under`- and `over`-replicated, `mis`placed, `unreachable`; `degraded` beside those, where the policy cannot be met. Copies to make now (`pulls`), to make should nodes stay away (`waiting…`), and to spare (`surplus…`). What a node has written in the last 10 s, and is copying, is counted on demand and by the hourly audit only.',
);
const repairState = named(
  z.strictObject({ pulls: count, bytes: count, bytesPerSecond: count, etaMs: count.nullable() }),
  'RepairState',
  'Repairs that are under way. `etaMs` is null while that cannot be told.',
);
const reason = z.enum(['start', 'timer', 'demand', 'liveness', 'repaired', 'placement', 'capacity']);
const auditor = named(
  z.strictObject({
    nodeId,
    name: z.string(),
    running: z.strictObject({ reason, phase: z.enum(['inventories', 'plan', 'checks']), subjects: count }).nullable(),
    last: z
      .strictObject({
        reason,
        time,
        tookMs: count,
        totals,
        cut: z.boolean(),
        suspects: count,
        checks: z.strictObject({ proved: count, lacking: count, wrong: count, unreachable: count }),
      })
      .nullable(),
    repairs: repairState,
  }),
  'Auditor',
  'A coordinator and the slots it audits: the audit that runs, the last one (`cut` when a plan did not take all; `suspects` are copies on nodes that are online which counted as not there, since their holders were caught without them or never prove them), its repairs.',
);
export const replicationStatus = named(
  z.strictObject({
    totals,
    complete: z.boolean(),
    healthy: z.boolean(),
    repairs: repairState,
    running: z.boolean(),
    lastAudit: z.strictObject({ time, nodeId, name: z.string() }).nullable(),
    auditors: z.array(auditor),
    intents: z.strictObject({ pending: count, late: count }),
    unanswered,
  }),
  'ReplicationStatus',
  'How replication stands in the mesh by the last audits. `complete`: every coordinator that is online answered, and all have audited since one of them went or came. `healthy`: complete, and nothing is under-replicated, misplaced, unreachable or degraded. `intents`: writes of the answering node whose copies are not all proved, and those that have waited for minutes.',
);

export const repairPlan = named(
  z.strictObject({
    repairs: z.array(
      z.strictObject({
        ns,
        key,
        version: versionId,
        size: count,
        to: nodeId,
        from: z.array(nodeId),
        provedCopies: count,
        waiting: z.strictObject({ for: z.array(nodeId), until: time }).nullable(),
      }),
    ),
    next: z.string().nullable(),
    unanswered,
  }),
  'RepairPlan',
  'Contents that nodes fetch, the most urgent first. `waiting` is null for what runs; else it is done if those nodes are not back by then.',
);

export const auditOutcome = named(
  z.strictObject({
    complete: z.boolean(),
    auditors: z.array(z.strictObject({ nodeId, name: z.string(), state: z.enum(['running', 'done']) })),
    status: replicationStatus.nullable(),
    unanswered,
  }),
  'AuditOutcome',
  'Who audits, and what came of it once all have.',
);

export const replicaPage = named(
  z.strictObject({
    ...placementFields,
    versions: z.array(
      z.strictObject({
        version: versionId,
        manifest: z.string().regex(hash),
        size: count,
        holders: z.array(
          z.strictObject({
            nodeId,
            name: z.string(),
            labels,
            presence,
            desired: z.boolean(),
            proved: z.boolean(),
            provedAt: time.nullable(),
            suspect: z.boolean(),
          }),
        ),
        missing: z.array(presentNode),
      }),
    ),
    next: z.string().nullable(),
    unanswered,
  }),
  'ReplicaPage',
  'Who holds the contents of an object’s versions, newest first. `proved`: a proof was seen, the last one at `provedAt`, or it is a coordinator’s own copy; `suspect`: it was caught without it; `missing`: who is to hold it and does not.',
);

export const drainStatus = named(
  z.strictObject({
    nodeId,
    name: z.string(),
    labels,
    presence,
    draining: z.boolean(),
    contents: count,
    remaining: count,
    remainingBytes: count,
    unreadable: count,
    intents: count.nullable(),
    safe: z.boolean(),
    unanswered,
  }),
  'DrainStatus',
  'How far a node that drains has come: contents on it, and those that are not all proved elsewhere. `unreadable` are objects with a version whose record is damaged: any content could be theirs. `intents` are writes made at it of which that is so; null when it does not answer. `safe`: it may be switched off.',
);

const change = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.enum(['leave', 'drain']), nodeId: z.string() }),
  z.strictObject({
    kind: z.literal('join'),
    nodeId: z.string().optional(),
    labels: labels.optional(),
    capacity: capacityStep.optional(),
  }),
  z.strictObject({ kind: z.literal('labels'), nodeId: z.string(), labels }),
  z.strictObject({ kind: z.literal('capacity'), nodeId: z.string(), capacity: capacityStep }),
]);
export const previewBody = named(
  z.strictObject({ change, after: z.string().optional(), limit: z.int().min(1).max(40).optional() }),
  'PreviewBody',
  'Something that may happen to the mesh; where to go on; how many moves to list.',
);

export const placementParameters = z.strictObject({
  ns: text('The namespace. Needed.'),
  key: text('The key. Needed.'),
});
export const planParameters = z.strictObject({
  after: text('Continue after this repair: the `next` of the page before.'),
  limit: pageSize.optional().describe('Repairs on the page; 100 when absent.'),
});
export const replicaParameters = z.strictObject({
  version: text('Only this version.'),
  after: text('Continue after this version: the `next` of the page before.'),
  limit: pageSize.optional().describe('Versions on the page, 64 at most.'),
});
const seconds = z
  .string()
  .regex(/^([0-9]|[12]\d|30)$/, 'a whole number of seconds from 0 to 30 is expected')
  .transform(Number)
  .pipe(z.int());
export const auditParameters = z.strictObject({
  wait: seconds.optional().describe('Seconds to wait for it to be done; it goes on after that.'),
});
