import { z } from 'zod';
import { capacityStepMax } from '../../crdt/control/capacity.ts';
import { checkLabels, coordinatorsMax } from '../../crdt/control/member.ts';
import { rawHashSchema as hash } from '../wire/schemas.ts';
import { countSchema as count, keySchema as key, nodeIdSchema as node, nsSchema as ns } from './fields.ts';
import {
  auditWaitMsMax,
  holdersMax,
  listedMovesMax,
  manifestsMax,
  movedNodesMax,
  orderHoldersMax,
  plannedMax,
} from './limits.ts';

/** What members ask coordinators about replication in the whole mesh, and the answers: parts of the messages of this protocol. */

const counts = <const Names extends readonly string[]>(names: Names) =>
  z.strictObject(Object.fromEntries(names.map((name) => [name, count])) as Record<Names[number], typeof count>);
/** Milliseconds since the epoch, for display. */
const time = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const labels = z
  .record(z.string(), z.string())
  .refine((value) => checkLabels(value) === undefined, 'not labels of a member');
const capacity = z.int().min(1).max(capacityStepMax);
const reason = z.enum(['start', 'timer', 'demand', 'liveness', 'repaired', 'placement', 'capacity']);

/** Where a plan is gone on after: the pull that was listed last, as plans are ordered. */
const place = z.strictObject({
  waiting: z.boolean(),
  proved: count,
  size: count,
  manifest: hash,
  to: node,
  version: hash,
});

const change = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('leave'), node }),
  z.strictObject({ kind: z.literal('drain'), node }),
  z.strictObject({ kind: z.literal('join'), node, labels, capacity }),
  z.strictObject({ kind: z.literal('labels'), node, labels }),
  z.strictObject({ kind: z.literal('capacity'), node, capacity }),
]);

const lack = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('replicas'), wanted: count, placed: count }),
  z.strictObject({ kind: z.literal('diversity'), label: z.string().max(64), wanted: count, placed: count }),
]);

/** The requests, each answered by the response of the same `t`. */
export const viewRequests = [
  /** Asks how replication stands at the answerer. */
  z.strictObject({ t: z.literal('status') }),
  /** Asks a coordinator what its plan lists after a place. */
  z.strictObject({ t: z.literal('plan'), after: place.nullable() }),
  /** Has a coordinator audit its slots, and waits for so many milliseconds until that is done. */
  z.strictObject({ t: z.literal('audit'), wait: z.int().min(0).max(auditWaitMsMax) }),
  /** Asks a coordinator for what it knows of every copy of contents. */
  z.strictObject({ t: z.literal('copies'), manifests: z.array(hash).min(1).max(manifestsMax) }),
  /** Asks a coordinator how far a node that drains has come. */
  z.strictObject({ t: z.literal('drain'), node }),
  /** Asks a coordinator what a change would move, of the versions after one of them. */
  z.strictObject({
    t: z.literal('preview'),
    change,
    after: z.strictObject({ doc: hash, version: hash }).nullable(),
    moves: z.int().min(0).max(listedMovesMax),
  }),
] as const;

const totals = counts([
  'subjects',
  'healthy',
  'under',
  'mis',
  'over',
  'unreachable',
  'degraded',
  'pulls',
  'pullBytes',
  'waitingPulls',
  'waitingBytes',
  'surplusCopies',
  'surplusBytes',
]);

const audited = z.strictObject({
  reason,
  time,
  took: count,
  /** The coordinators that it took to share the slots with the answerer, which is one of them. */
  among: z.array(node).max(coordinatorsMax),
  totals,
  cut: z.boolean(),
  /** Copies on nodes that are online which counted as not there. */
  suspects: count,
  checks: counts(['proved', 'lacking', 'wrong', 'unreachable']),
});

const auditor = z.strictObject({
  running: z.strictObject({ reason, phase: z.enum(['inventories', 'plan', 'checks']), subjects: count }).nullable(),
  last: audited.nullable(),
  repairs: z.strictObject({ pulls: count, bytes: count, rate: count, eta: count.nullable() }),
});

const pull = z.strictObject({
  ns,
  key,
  version: hash,
  manifest: hash,
  size: count,
  to: node,
  from: z.array(node).max(orderHoldersMax),
  proved: count,
  waiting: z.boolean(),
  /** Who is waited for, and for how many milliseconds still. */
  waits: z.array(z.tuple([node, count])).max(orderHoldersMax),
});

const move = z.strictObject({
  ns,
  key,
  version: hash,
  size: count,
  from: z.array(node).max(orderHoldersMax),
  to: z.array(node).max(orderHoldersMax),
  lacks: z.array(lack).max(orderHoldersMax),
});

/** The responses. Every one but `status` is null in its second field from a node that is no coordinator. */
export const viewResponses = [
  /** `intents` are writes of the answerer whose copies are not all proved, `late` those that have been waited for long. */
  z.strictObject({ t: z.literal('status'), intents: count, late: count, auditor: auditor.nullable() }),
  /** Pulls of the last audit's plan that are not done, in its order. */
  z.strictObject({
    t: z.literal('plan'),
    page: z.strictObject({ pulls: z.array(pull).max(plannedMax), more: z.boolean() }).nullable(),
  }),
  z.strictObject({ t: z.literal('audit'), state: z.enum(['running', 'done']).nullable() }),
  /** For each content the nodes that say they have it, its size there, when that was proved (ms since the epoch, 0 for never), and what the answerer makes of it. */
  z.strictObject({
    t: z.literal('copies'),
    copies: z
      .array(z.array(z.tuple([node, count, count, z.enum(['listed', 'suspect', 'own'])])).max(holdersMax))
      .max(manifestsMax)
      .nullable(),
  }),
  /** `current` is false when the node itself could not be asked what it has. */
  z.strictObject({
    t: z.literal('drain'),
    progress: z
      .strictObject({ contents: count, remaining: count, bytes: count, unreadable: count, current: z.boolean() })
      .nullable(),
  }),
  z.strictObject({
    t: z.literal('preview'),
    page: z
      .strictObject({
        moves: z.array(move).max(listedMovesMax),
        totals: counts(['subjects', 'moved', 'copies', 'bytes', 'degraded']),
        nodes: z.array(z.tuple([node, count, count, count, count])).max(movedNodesMax),
        next: z.strictObject({ doc: hash, version: hash }).nullable(),
      })
      .nullable(),
  }),
] as const;
