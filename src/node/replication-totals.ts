import type { NodeId } from '../../crdt/ids.ts';
import type { StandingView } from '../../protocols/replicas/views.ts';
import { isOneAudit } from '../replication/mesh-merge.ts';
import { noTotals, type PlanTotals } from '../replication/plan.ts';
import type { AuditorState, RepairState, ReplicationStatus, UnansweredNode } from './replication-api.ts';

/** What one coordinator told. */
interface ToldAuditor {
  readonly nodeId: NodeId;
  readonly name: string;
  readonly auditor: NonNullable<StandingView['auditor']>;
}

/** How replication stands in the mesh, of what its coordinators told. */
export function meshStatusOf(
  told: readonly ToldAuditor[],
  here: StandingView,
  unanswered: readonly UnansweredNode[],
): ReplicationStatus {
  const auditors = told.map(auditorOf);
  const totals = sumOf(auditors);
  const isComplete =
    auditors.length > 0 &&
    auditors.every(({ last }) => last !== null) &&
    isOneAudit(told.map(({ nodeId, auditor }) => ({ nodeId, among: auditor.last?.among ?? [] }))) &&
    unanswered.every(({ presence }) => presence !== 'online');
  const [latest] = auditors
    .flatMap(({ nodeId, name, last }) => (last === null ? [] : [{ time: last.time + last.tookMs, nodeId, name }]))
    .sort((left, right) => right.time - left.time);
  return {
    totals,
    complete: isComplete,
    healthy: isComplete && totals.under + totals.mis + totals.unreachable + totals.degraded === 0,
    repairs: repairsOf(auditors.map(({ repairs }) => repairs)),
    running: auditors.some(({ running }) => running !== null),
    lastAudit: latest ?? null,
    auditors,
    intents: { pending: here.intents, late: here.late },
    unanswered,
  };
}

function auditorOf({ nodeId, name, auditor: { running, last, repairs } }: ToldAuditor): AuditorState {
  const { pulls, bytes, rate, eta } = repairs;
  return {
    nodeId,
    name,
    running,
    last:
      last === null
        ? null
        : {
            reason: last.reason,
            time: last.time,
            tookMs: last.took,
            totals: last.totals,
            cut: last.cut,
            suspects: last.suspects,
            checks: last.checks,
          },
    repairs: { pulls, bytes, bytesPerSecond: rate, etaMs: eta },
  };
}

function sumOf(auditors: readonly AuditorState[]): PlanTotals {
  const sum: Record<keyof PlanTotals, number> = { ...noTotals };
  for (const { last } of auditors) {
    if (last === null) continue;
    for (const name of Object.keys(noTotals) as (keyof PlanTotals)[]) sum[name] += last.totals[name];
  }
  return sum;
}

/** They run beside each other: the last of them to be done is when all are. */
function repairsOf(queues: readonly RepairState[]): RepairState {
  const total = { pulls: 0, bytes: 0, bytesPerSecond: 0 };
  let etaMs: number | null = 0;
  for (const queue of queues) {
    total.pulls += queue.pulls;
    total.bytes += queue.bytes;
    total.bytesPerSecond += queue.bytesPerSecond;
    etaMs = etaMs === null || queue.etaMs === null ? null : Math.max(etaMs, queue.etaMs);
  }
  return { ...total, etaMs };
}
