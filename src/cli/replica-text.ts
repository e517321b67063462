import { formatBytes } from '../client/draw-graph.ts';
import type {
  ObjectPlacement,
  PresentNode,
  ReplicaPage,
  ReplicationStatus,
  UnansweredNode,
  VersionReplicas,
} from '../node/api.ts';
import { formatDuration } from './duration.ts';
import { printable, table } from './output.ts';

/** What is said of copies, in words. Every function gives lines. */

/** Who should hold an object, and what of its policy cannot be met. */
export function placementLines({ ns, key, policy, desired, substitutes, lacks }: ObjectPlacement): string[] {
  const diversity = Object.entries(policy.diversity).map(([label, count]) => `${count} ${label}`);
  const where = diversity.length === 0 ? '' : ` in at least ${diversity.join(', ')}`;
  const copies = policy.replicas === 1 ? '1 copy' : `${policy.replicas} copies`;
  return [
    printable(`${ns}/${key}: ${copies}${where}`),
    ...indented([
      ...desired.map((node) => [...cellsOf(node), 'desired']),
      ...substitutes.map((node) => [...cellsOf(node), 'stands in']),
    ]),
    ...lacks.map(({ message }) => `  CANNOT BE MET: ${printable(message)}`),
  ];
}

/** Who holds the content of one version. */
function versionLines({ version, size, holders, missing }: VersionReplicas, nowMs: number): string[] {
  return [
    `${version}  ${formatBytes(size)}`,
    ...indented([
      ...holders.map((holder) => [
        ...cellsOf(holder),
        holder.suspect
          ? 'SUSPECT: caught without it'
          : holder.proved
            ? `proved${holder.provedAt === null ? '' : ` ${agoText(nowMs - holder.provedAt)}`}`
            : 'not proved yet',
        holder.desired ? '' : 'beyond the policy',
      ]),
      ...missing.map((node) => [...cellsOf(node), 'MISSING']),
    ]),
  ];
}

/** The lines of a page of replicas. */
export function replicaLines(page: ReplicaPage, nowMs: number): string[] {
  return [
    ...placementLines(page),
    ...page.versions.flatMap((version) => ['', ...versionLines(version, nowMs)]),
    ...(page.versions.length === 0 ? ['it has no version with content'] : []),
    ...unansweredLines(page.unanswered),
  ];
}

/** How replication stands in the mesh. */
export function statusLines(status: ReplicationStatus, nowMs: number): string[] {
  const { totals, repairs, auditors, intents, lastAudit, unanswered } = status;
  const running = auditors.filter(({ running: audit }) => audit !== null);
  const rows: [string, string][] = [
    ['state', stateText(status)],
    ['versions', versionsText(status)],
    ['repairs', repairs.pulls === 0 ? 'none' : repairsText(status)],
    ...(totals.waitingPulls === 0
      ? []
      : [
          ['waiting', `${copiesText(totals.waitingPulls, totals.waitingBytes)} should nodes stay away`] as [
            string,
            string,
          ],
        ]),
    ...(totals.surplusCopies === 0
      ? []
      : [['to spare', copiesText(totals.surplusCopies, totals.surplusBytes)] as [string, string]]),
    [
      'last audit',
      lastAudit === null ? 'none yet' : `${agoText(nowMs - lastAudit.time)} by ${printable(lastAudit.name)}`,
    ],
    ...running.map(({ name, running: audit }): [string, string] => [
      'audit runs',
      `${printable(name)}: ${audit?.phase ?? ''}, ${audit?.subjects ?? 0} versions`,
    ]),
    [
      'writes here',
      intents.pending === 0 ? 'all proved elsewhere' : `${intents.pending} wait for proofs of their copies`,
    ],
  ];
  return [...table(rows), ...unansweredLines(unanswered)];
}

/** Who did not answer, so that nobody takes a part for the whole. */
export function unansweredLines(unanswered: readonly UnansweredNode[]): string[] {
  return unanswered.map(({ name, presence }) => {
    const how = presence === 'online' ? '' : ` (${presence === 'away' ? 'offline' : 'gone'})`;
    return `${printable(name)} did not answer${how}: what it alone knows is missing here`;
  });
}

/** Copies and their bytes. */
export function copiesText(count: number, bytes: number): string {
  return `${count} ${count === 1 ? 'copy' : 'copies'}, ${formatBytes(bytes)}`;
}

function stateText({ healthy, complete, auditors }: ReplicationStatus): string {
  if (healthy) return 'healthy';
  if (complete) return 'NOT HEALTHY';
  return auditors.some(({ last }) => last === null)
    ? 'not known: not every coordinator has audited yet; "anabranch replication audit" has them do it'
    : 'not known: not every coordinator answers';
}

function versionsText({ totals }: ReplicationStatus): string {
  const parts = [
    `${totals.healthy} healthy`,
    ...(totals.under > 0 ? [`${totals.under} under-replicated`] : []),
    ...(totals.mis > 0 ? [`${totals.mis} misplaced`] : []),
    ...(totals.over > 0 ? [`${totals.over} over-replicated`] : []),
    ...(totals.unreachable > 0 ? [`${totals.unreachable} UNREACHABLE`] : []),
    ...(totals.degraded > 0 ? [`${totals.degraded} degraded: the policy cannot be met`] : []),
  ];
  return `${totals.subjects}: ${parts.join(', ')}`;
}

function repairsText({ repairs: { pulls, bytes, bytesPerSecond, etaMs } }: ReplicationStatus): string {
  const rate = bytesPerSecond === 0 ? '' : `, ${formatBytes(bytesPerSecond)} a second`;
  const left = etaMs === null || etaMs === 0 ? '' : `, about ${formatDuration(etaMs)} left`;
  return `${copiesText(pulls, bytes)} under way${rate}${left}`;
}

function cellsOf({ name, labels, presence }: PresentNode): string[] {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  return [printable(name), printable(pairs.join(',')), presence === 'online' ? '' : presence];
}

function indented(rows: readonly (readonly string[])[]): string[] {
  return table(rows).map((line) => `  ${line}`);
}

function agoText(ageMs: number): string {
  return `${formatDuration(Math.max(0, ageMs))} ago`;
}
