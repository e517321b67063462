import type {
  ContentScrub,
  DrainStatus,
  GivenUp,
  NodeStatus,
  ObjectPlacement,
  ReplicationStatus,
} from '../node/api.ts';
import type { CommandText } from './command-text.ts';
import { counted } from './counted.ts';
import { drainLines } from './drain-text.ts';
import { type Finding, note, ok, wrong } from './finding.ts';

/** What the doctor finds about content and its copies. */

/** Whether the records of versions are as they were written. */
export function recordsOf({ records: { damaged } }: NodeStatus): Finding[] {
  if (damaged === 0) return [ok('records', 'no damaged record is known of')];
  const advice =
    "each is fetched again as soon as a node that has it is connected: start the others; this node's log names them. " +
    'Until then their objects can be written by naming a version that is sound. If more come, replace the disk';
  const versions = counted(damaged, 'version has a damaged record', 'versions have damaged records');
  return [wrong('records', `${versions} on this node's disk`, advice)];
}

/** What became of content at the node itself. */
export function contentOf(
  {
    status,
    dead,
    scrub,
  }: { readonly status: NodeStatus; readonly dead: readonly GivenUp[]; readonly scrub: ContentScrub },
  command: CommandText,
): Finding[] {
  const { damaged, incomplete } = status.content;
  const { pendingContent } = status;
  const found = givenUpOf(status.content.dead, dead, command);
  const again = 'fetched again as soon as a node that has it is connected';
  if (damaged > 0) {
    const advice = `each is ${again}: start the others; then "${command('content scrub')}" reads through the disk: if it finds more, replace it`;
    const contents = counted(damaged, 'content has rotted', 'contents have rotted');
    found.push(wrong('content', `${contents} on this node's disk`, advice));
  }
  if (incomplete > 0) {
    const contents = counted(incomplete, 'content that was here lacks', 'contents that were here lack');
    found.push(wrong('content', `${contents} something`, `each is ${again}: start the others`));
  }
  const rotten = scrub.current.damaged + (scrub.last?.damaged ?? 0);
  if (rotten > 0) {
    const advice = `what was needed is ${again}; if "${command('content scrub')}" finds more, replace the disk`;
    found.push(note('scrub', `${counted(rotten, 'blob')} had rotted on this node's disk by the last scrubs`, advice));
  }
  if (found.length > 0) return found;
  return [
    ok(
      'content',
      pendingContent === 0
        ? 'all content this node wants is here'
        : `${counted(pendingContent, 'content is on its', 'contents are on their')} way`,
    ),
  ];
}

/** What can be done about each reason for which contents are given up. */
const deathAdvice: Readonly<Record<GivenUp['reason'], string>> = {
  unavailable: 'nobody had it for a day: bring a node back that has it; it is tried again when one comes',
  failing: 'storing it failed for a day: see the log, look at the disk, and try again',
  unusable: 'its manifest is made up, which nothing can mend: write the object anew',
};

/** What the node gave up getting, by the reasons of those that were looked at. */
function givenUpOf(count: number, dead: readonly GivenUp[], command: CommandText): Finding[] {
  if (count === 0) return [];
  const [list, retry] = [command('content dead'), command('content retry --all')];
  const reasons = new Set(dead.map(({ reason }) => reason));
  const advice = [
    ...Array.from(reasons, (reason) => deathAdvice[reason]),
    `"${list}" lists what was given up, "${retry}" tries it again`,
  ];
  return [
    wrong('content', `${counted(count, 'content was', 'contents were')} given up by this node`, advice.join('; ')),
  ];
}

/** Whether every version has its copies, by the last audits. */
export function replicationOf(replication: ReplicationStatus, command: CommandText): Finding[] {
  const { totals, complete, unanswered, auditors, lastAudit } = replication;
  const check = 'replication';
  const found: Finding[] = unanswered
    .filter(({ presence }) => presence === 'online')
    .map(({ name }) =>
      wrong(check, `coordinator ${name} does not answer`, 'what follows is without what it alone knows'),
    );
  if (lastAudit === null) {
    return [...found, note(check, 'replication has not been audited yet', command('replication audit'))];
  }
  if (!complete && auditors.some(({ last }) => last === null)) {
    found.push(note(check, 'not every coordinator has audited since it started', command('replication audit')));
  }
  if (!complete && found.length === 0) {
    found.push(note(check, 'a coordinator went or came, and the others have not audited since', 'look again shortly'));
  }
  const more = `"${command('replication plan')}" tells more`;
  const bad: (readonly [count: number, what: string, advice: string])[] = [
    [
      totals.unreachable,
      'no copy on a node that is online',
      `start the nodes that hold them: ${command('replicas NS/KEY')}`,
    ],
    [totals.under, 'too few copies', `repairs run or wait for a node; ${more}`],
    [
      totals.mis,
      'copies in the wrong places, and too few in the right ones',
      `repairs run or wait for a node; ${more}`,
    ],
    [totals.degraded, 'a policy that cannot be met', 'see the policies below'],
  ];
  for (const [count, what, advice] of bad) {
    if (count > 0) found.push(wrong(check, `${versionsHave(count)} ${what}`, advice));
  }
  const wrongCopies = auditors.reduce(
    (sum, { last }) => sum + (last?.checks.wrong ?? 0) + (last?.checks.lacking ?? 0),
    0,
  );
  if (wrongCopies > 0) {
    const advice = `others replace them; see "${command('replicas NS/KEY')}", and look at the disks of their nodes`;
    const copies = counted(wrongCopies, 'copy that a node said to have was', 'copies that nodes said to have were');
    found.push(wrong(check, `${copies} missing or damaged`, advice));
  }
  const suspects = auditors.reduce((sum, { last }) => sum + (last?.suspects ?? 0), 0);
  if (suspects > 0) {
    const advice = `others stand in for them, and they count again once they are proved; see "${command('replicas NS/KEY')}", and look at the disks of their nodes and the network to them`;
    found.push(wrong(check, `${counted(suspects, 'copy counts', 'copies count')} as not there`, advice));
  }
  if (totals.over > 0) found.push(note(check, `${versionsHave(totals.over)} copies to spare`));
  if (found.some(({ level }) => level === 'wrong')) return found;
  const all = counted(totals.subjects, 'version has all its copies', 'versions have all their copies');
  const whole = totals.subjects === 0 ? 'there is no content yet' : `${totals.healthy + totals.over} of ${all}`;
  return [...found, ok(check, whole)];
}

function versionsHave(count: number): string {
  return counted(count, 'version has', 'versions have');
}

/** Whether what was written here is proved elsewhere. */
export function intentsOf({ intents: { pending, late } }: ReplicationStatus): Finding[] {
  if (late > 0) {
    const advice = 'keep this node running until their holders are back: it has what they do not';
    const writes = counted(late, 'write of this node has', 'writes of this node have');
    return [wrong('writes', `${writes} waited long for their holders to prove them`, advice)];
  }
  return [
    ok(
      'writes',
      pending === 0
        ? 'all writes of this node are proved where they belong'
        : `${counted(pending, 'write is', 'writes are')} being copied`,
    ),
  ];
}

/** Nobody's namespace: what is true of it is true of all that have no policy. */
export const defaultNamespace = 'no-policy';

/** Whether every namespace can have what its policy asks for. */
export function policiesOf(
  {
    placements,
    replication,
  }: { readonly placements: readonly ObjectPlacement[]; readonly replication: ReplicationStatus },
  command: CommandText,
): Finding[] {
  const found = placements
    .filter(({ ns }) => ns !== defaultNamespace)
    .flatMap(({ ns, lacks }) => lacks.map(({ message, advice }) => wrong('policies', `${ns}: ${message}`, advice)));
  // Versions whose policy cannot be met, and no policy that was set: they have the one of those that have none.
  const isUsed = found.length === 0 && replication.totals.degraded > 0;
  for (const { message, placed } of placements.find(({ ns }) => ns === defaultNamespace)?.lacks ?? []) {
    const policy = command(`namespaces set NS --replicas ${Math.max(1, placed)}`);
    const advice = `admit more storage nodes, or set a policy: ${policy}`;
    found.push((isUsed ? wrong : note)('policies', `namespaces without a policy: ${message}`, advice));
  }
  return found.length === 0 ? [ok('policies', 'every namespace’s policy can be met')] : found;
}

/** How far the nodes have come that drain. */
export function drainsOf(drains: readonly DrainStatus[], command: CommandText): Finding[] {
  return drains.map((drain) =>
    note('drain', drainLines(drain, command).join('; '), drain.safe ? `switch ${drain.name} off` : null),
  );
}
