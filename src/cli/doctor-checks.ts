import type { DrainStatus, NodeInfo, NodeStatus, ObjectPlacement, ReplicationStatus } from '../node/api.ts';
import { drainLines } from './drain-text.ts';
import { formatDuration } from './duration.ts';

/** One thing that was looked at. `note` is worth knowing, `wrong` is to be mended. */
export interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'note' | 'wrong';
  readonly message: string;
  /** What to do about it; null when there is nothing to do. */
  readonly advice: string | null;
}

/** What a doctor looks at. */
export interface Examined {
  readonly status: NodeStatus;
  readonly nodes: readonly NodeInfo[];
  readonly replication: ReplicationStatus;
  /** Placement in each namespace with a policy, and in one without. */
  readonly placements: readonly ObjectPlacement[];
  readonly drains: readonly DrainStatus[];
}

/** Below this share of a disk, and below so many bytes, writes will soon fail. */
const freeShareMin = 0.05;
const freeBytesMin = 1024 ** 3;
/** Clocks that are further apart make the times that are shown misleading. */
const clockOffsetMsMax = 2_000;

const ok = (check: string, message: string): Finding => ({ check, level: 'ok', message, advice: null });
const note = (check: string, message: string, advice: string | null = null): Finding => ({
  ...{ check, level: 'note', message, advice },
});
const wrong = (check: string, message: string, advice: string): Finding => ({
  ...{ check, level: 'wrong', message, advice },
});

/** Everything that was found, in the order in which it is best read. */
export function findings(examined: Examined): Finding[] {
  return [
    ...membershipOf(examined.status),
    ...quorumOf(examined.status),
    ...coordinatorsOf(examined.status),
    ...nodesOf(examined.nodes),
    ...versionsOf(examined.nodes),
    ...clocksOf(examined.nodes),
    ...disksOf(examined),
    ...contentOf(examined.status),
    ...replicationOf(examined.replication),
    ...intentsOf(examined.replication),
    ...policiesOf(examined.placements),
    ...drainsOf(examined.drains),
  ];
}

function membershipOf({ name, ready, membership: { state, removedBy, turnedAwayBy } }: NodeStatus): Finding[] {
  const check = 'node';
  if (!ready) return [wrong(check, `${name} is not ready`, 'wait for its start to end; its log tells what it does')];
  const again = 'anabranch init --join makes a new node of this machine; then "anabranch nodes admit" takes it in';
  switch (state) {
    case 'member':
      return [ok(check, `${name} is ready`)];
    case 'pending':
      return [wrong(check, `${name} is not admitted`, `"anabranch nodes admit" on a member takes it in`)];
    case 'removed':
      return [wrong(check, `${name} was removed by entry ${removedBy} of the control log`, again)];
    case 'turned_away':
      return [wrong(check, `${turnedAwayBy} members turn ${name} away`, `see "anabranch nodes" there; ${again}`)];
  }
}

function quorumOf({ quorum, peers }: NodeStatus): Finding[] {
  const { reachable, coordinators, available, pending } = quorum;
  const reach = `${reachable} of ${coordinators} coordinators are reachable`;
  if (!available) {
    const advice =
      'start the coordinators that are offline, or mend the network to them; until then nothing is confirmed';
    return [wrong('quorum', reach, advice)];
  }
  const waiting = pending === 0 ? '' : `; ${pending} objects wait to be confirmed`;
  const found = [ok('quorum', `${reach}${waiting}`)];
  if (coordinators > 1 && coordinators % 2 === 0) {
    found.push(
      note(
        'quorum',
        `${coordinators} coordinators survive no more failures than ${coordinators - 1}`,
        'have 3, 5 or 7',
      ),
    );
  }
  if (peers.known > 0 && peers.connected === 0) {
    found.push(wrong('network', `none of ${peers.known} members is connected`, 'look at addresses and firewalls'));
  }
  return found;
}

function coordinatorsOf({ control }: NodeStatus): Finding[] {
  return control.restored.map((node) =>
    wrong(
      'coordinators',
      `coordinator ${node} was restored from a backup and gives no votes`,
      'remove it, and admit it again as a new node',
    ),
  );
}

function nodesOf(nodes: readonly NodeInfo[]): Finding[] {
  const others = nodes.filter(({ self }) => !self);
  const away = others.filter(({ state }) => state === 'offline' || state === 'suspect');
  const unseen = others.filter(({ state }) => state === 'unknown');
  const apart = others.filter(({ state, connected }) => (state === 'online' || state === 'draining') && !connected);
  const found = [
    ...away.map(({ name, state, since }) => {
      const forMs = Math.max(0, Date.now() - since);
      const advice = `start it or mend the network to it; if it is gone for good: anabranch nodes remove ${name}`;
      return wrong('nodes', `${name} is ${state} for ${formatDuration(forMs)}`, advice);
    }),
    ...unseen.map(({ name, addresses }) => {
      const where =
        addresses.length === 0 ? 'it has no address to be dialled at' : `it is dialled at ${addresses.join(' ')}`;
      return wrong('nodes', `${name} was not seen yet`, `start it; ${where}`);
    }),
    ...apart.map(({ name }) =>
      note('nodes', `${name} lives, and there is no connection to it from here`, 'look at addresses and firewalls'),
    ),
  ];
  if (found.length > 0) return found;
  return [ok('nodes', others.length === 0 ? 'it is the only member' : `all ${nodes.length} members are there`)];
}

function versionsOf(nodes: readonly NodeInfo[]): Finding[] {
  const versions = new Map<string, string[]>();
  for (const { name, version } of nodes) {
    if (version !== null) versions.set(version, [...(versions.get(version) ?? []), name]);
  }
  if (versions.size <= 1) return [ok('versions', `all run ${[...versions.keys()][0] ?? 'an unknown version'}`)];
  const list = Array.from(versions, ([version, names]) => `${version} on ${names.join(', ')}`).join('; ');
  return [note('versions', `different versions run: ${list}`, 'bring all to the newest')];
}

function clocksOf(nodes: readonly NodeInfo[]): Finding[] {
  const known = nodes.filter(({ self, clockOffsetMs }) => !self && clockOffsetMs !== null);
  const off = known.filter(({ clockOffsetMs }) => Math.abs(clockOffsetMs ?? 0) > clockOffsetMsMax);
  if (off.length === 0) return known.length === 0 ? [] : [ok('clocks', `${known.length} clocks agree with this one`)];
  return off.map(({ name, clockOffsetMs }) => {
    const by = `${Math.abs(Math.round((clockOffsetMs ?? 0) / 100) / 10)} s ${(clockOffsetMs ?? 0) > 0 ? 'ahead' : 'behind'}`;
    const advice = 'nothing is decided by clocks, but times that are shown mislead: set it right by NTP';
    return note('clocks', `the clock of ${name} is ${by}`, advice);
  });
}

function disksOf({ nodes, status }: Examined): Finding[] {
  const disks = nodes.map(({ name, self, capacityBytes, freeBytes }) =>
    self ? { name, ...status.disk } : { name, capacityBytes, freeBytes },
  );
  const full = disks.filter(({ capacityBytes, freeBytes }) => {
    return (
      capacityBytes !== null && freeBytes !== null && freeBytes < Math.min(capacityBytes * freeShareMin, freeBytesMin)
    );
  });
  if (full.length === 0) return [ok('disks', 'there is room on every disk that is known')];
  return full.map(({ name, freeBytes }) =>
    wrong(
      'disks',
      `${name} has ${Math.round((freeBytes ?? 0) / 1024 ** 2)} MiB left`,
      `free room, or drain it: anabranch drain ${name}`,
    ),
  );
}

function contentOf({ content: { dead, damaged, incomplete }, pendingContent }: NodeStatus): Finding[] {
  const found: Finding[] = [];
  if (dead > 0) {
    const advice = 'bring a node back that has them; they are tried again when a peer comes';
    found.push(wrong('content', `${dead} contents were given up by this node`, advice));
  }
  if (damaged > 0) {
    const advice = 'they were put aside and fetched again; if there are more of them, replace the disk';
    found.push(wrong('scrub', `${damaged} blobs had rotted on this node's disk`, advice));
  }
  if (incomplete > 0) found.push(note('scrub', `${incomplete} contents lacked something and were fetched again`));
  if (found.length > 0) return found;
  return [
    ok(
      'content',
      pendingContent === 0 ? 'all content this node wants is here' : `${pendingContent} contents are on their way`,
    ),
  ];
}

function replicationOf(replication: ReplicationStatus): Finding[] {
  const { totals, complete, unanswered, auditors, lastAudit } = replication;
  const check = 'replication';
  const found: Finding[] = unanswered
    .filter(({ presence }) => presence === 'online')
    .map(({ name }) =>
      wrong(check, `coordinator ${name} does not answer`, 'what follows is without what it alone knows'),
    );
  if (lastAudit === null) {
    return [...found, note(check, 'replication has not been audited yet', 'anabranch replication audit')];
  }
  if (!complete && auditors.some(({ last }) => last === null)) {
    found.push(note(check, 'not every coordinator has audited since it started', 'anabranch replication audit'));
  }
  const audit = 'anabranch replication status and plan tell more';
  const bad: (readonly [number, string, string])[] = [
    [
      totals.unreachable,
      'have no copy on a node that is online',
      'start the nodes that hold them: anabranch replicas NS/KEY',
    ],
    [totals.under, 'have too few copies', `repairs run or wait for a node; ${audit}`],
    [totals.mis, 'have copies where they should not be, and lack others', `repairs run or wait for a node; ${audit}`],
    [totals.degraded, 'have a policy that cannot be met', 'see the policies below'],
  ];
  for (const [count, what, advice] of bad) if (count > 0) found.push(wrong(check, `${count} versions ${what}`, advice));
  const wrongCopies = auditors.reduce(
    (sum, { last }) => sum + (last?.checks.wrong ?? 0) + (last?.checks.lacking ?? 0),
    0,
  );
  if (wrongCopies > 0) {
    const advice = 'others replace them; see "anabranch replicas NS/KEY", and look at the disks of their nodes';
    found.push(wrong(check, `${wrongCopies} copies were missing or damaged where a node said to have them`, advice));
  }
  if (totals.over > 0) found.push(note(check, `${totals.over} versions have copies to spare`));
  if (found.some(({ level }) => level === 'wrong')) return found;
  return [...found, ok(check, `${totals.healthy + totals.over} of ${totals.subjects} versions have all their copies`)];
}

function intentsOf({ intents: { pending, late } }: ReplicationStatus): Finding[] {
  if (late > 0) {
    const advice = 'keep this node running until their holders are back: it has what they do not';
    return [wrong('writes', `${late} writes of this node have waited long for their holders to prove them`, advice)];
  }
  return [
    ok(
      'writes',
      pending === 0 ? 'all writes of this node are proved where they belong' : `${pending} writes are being copied`,
    ),
  ];
}

function policiesOf(placements: readonly ObjectPlacement[]): Finding[] {
  const unmet = placements.flatMap(({ ns, lacks }) => lacks.map(({ message }) => ({ ns, message })));
  if (unmet.length === 0) return [ok('policies', 'every namespace’s policy can be met')];
  return unmet.map(({ ns, message }) => {
    const [what = '', advice = ''] = message.split(': ', 2);
    return wrong('policies', `${ns === defaultNamespace ? 'namespaces without a policy' : ns}: ${what}`, advice);
  });
}

/** Nobody's namespace: what is true of it is true of all that have no policy. */
export const defaultNamespace = 'no-policy';

function drainsOf(drains: readonly DrainStatus[]): Finding[] {
  return drains.map((drain) =>
    note('drain', drainLines(drain).join('; '), drain.safe ? `switch ${drain.name} off` : null),
  );
}
