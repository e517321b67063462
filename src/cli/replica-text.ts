import { formatBytes } from '../client/draw-graph.ts';
import type {
  ObjectPlacement,
  PresentNode,
  ReplicaPage,
  ReplicationStatus,
  UnansweredNode,
  VersionReplicas,
} from '../node/api.ts';
import type { CommandText } from './command-text.ts';
import { counted } from './counted.ts';
import { formatDuration } from './duration.ts';
import { printable, table } from './output.ts';

/** What is said of copies, in words. Every function gives lines. */

/** Who should hold an object, and what of its policy cannot be met. */
export function placementLines({ ns, key, policy, desired, substitutes, lacks }: ObjectPlacement): string[] {
  const diversity = Object.entries(policy.diversity).map(([label, count]) => `${count} ${label}`);
  const where = diversity.length === 0 ? '' : ` in at least ${diversity.join(', ')}`;
  const copies = counted(policy.replicas, 'copy', 'copies');
  return [
    printable(`${ns}/${key}: ${copies}${where}`),
    ...indented([
      ...desired.map((node) => [...cellsOf(node), 'desired']),
      ...substitutes.map((node) => [...cellsOf(node), 'stands in']),
    ]),
    ...lacks.map(({ message, advice }) => `  CANNOT BE MET: ${printable(`${message}: ${advice}`)}`),
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
export function statusLines(status: ReplicationStatus, nowMs: number, command: CommandText): string[] {
  const { totals, repairs, auditors, intents, lastAudit, unanswered } = status;
  const running = auditors.filter(({ running: audit }) => audit !== null);
  const rows: [string, string][] = [
    ['state', stateText(status, command)],
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
      `${printable(name)}: ${audit?.phase ?? ''}, ${counted(audit?.subjects ?? 0, 'version')}`,
    ]),
    [
      'writes here',
      intents.pending === 0
        ? 'all proved elsewhere'
        : `${counted(intents.pending, 'waits', 'wait')} for proofs of copies`,
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
  return `${counted(count, 'copy', 'copies')}, ${formatBytes(bytes)}`;
}

function stateText({ healthy, complete, auditors, unanswered }: ReplicationStatus, command: CommandText): string {
  if (healthy) return 'healthy';
  if (complete) return 'NOT HEALTHY';
  if (auditors.some(({ last }) => last === null)) {
    return `not known: not every coordinator has audited yet; "${command('replication audit')}" has them do it`;
  }
  return auditors.length === 0 || unanswered.some(({ presence }) => presence === 'online')
    ? 'not known: not every coordinator answers'
    : 'not known: a coordinator went or came, and the others have not audited since; they are about to';
}

function versionsText({ totals }: ReplicationStatus): string {
  const { subjects, over } = totals;
  if (subjects === 0) return 'none yet';
  const whole = totals.healthy + over;
  const all = counted(subjects, 'has all its copies', 'have all their copies');
  const parts = [
    whole === subjects ? all : `${whole} of ${all}`,
    ...(over > 0 ? [`${over} of them more than needed`] : []),
    ...(totals.under > 0 ? [`${counted(totals.under, 'has', 'have')} too few`] : []),
    ...(totals.mis > 0 ? [`${counted(totals.mis, 'has', 'have')} some in the wrong places`] : []),
    ...(totals.unreachable > 0 ? [`${counted(totals.unreachable, 'has', 'have')} NONE that can be reached`] : []),
    ...(totals.degraded > 0 ? [`${counted(totals.degraded, 'has', 'have')} a policy that cannot be met`] : []),
  ];
  return parts.join(', ');
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
