import type {
  ContentScrub,
  DrainStatus,
  GivenUp,
  NodeInfo,
  NodeStatus,
  ObjectPlacement,
  ReplicationStatus,
} from '../node/api.ts';
import type { CommandText } from './command-text.ts';
import { counted } from './counted.ts';
import { contentOf, drainsOf, intentsOf, policiesOf, recordsOf, replicationOf } from './doctor-content.ts';
import { formatDuration } from './duration.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { waitingTexts } from './waiting-text.ts';

/** What a doctor looks at. */
export interface Examined {
  readonly status: NodeStatus;
  readonly nodes: readonly NodeInfo[];
  readonly replication: ReplicationStatus;
  /** Placement in each namespace with a policy, and in one without. */
  readonly placements: readonly ObjectPlacement[];
  readonly drains: readonly DrainStatus[];
  /** What the node gave up getting: the first of it. */
  readonly dead: readonly GivenUp[];
  /** What reading through the node's disk has found. */
  readonly scrub: ContentScrub;
}

/** Below this share of a disk, and below so many bytes, writes will soon fail. */
const freeShareMin = 0.05;
const freeBytesMin = 1024 ** 3;
/** Clocks that are further apart make the times that are shown misleading. */
const clockOffsetMsMax = 2_000;

/** Everything that was found, in the order in which it is best read. Commands in it are named by `command`. */
export function findings(examined: Examined, command: CommandText): Finding[] {
  return [
    ...membershipOf(examined.status, command),
    ...quorumOf(examined.status),
    ...coordinatorsOf(examined.status),
    ...forkOf(examined, command),
    ...nodesOf(examined.nodes, command),
    ...versionsOf(examined.nodes),
    ...clocksOf(examined.nodes),
    ...disksOf(examined, command),
    ...recordsOf(examined.status),
    ...contentOf(examined, command),
    ...replicationOf(examined.replication, command),
    ...intentsOf(examined.replication),
    ...policiesOf(examined, command),
    ...drainsOf(examined.drains, command),
  ];
}

function membershipOf(
  { name, ready, membership: { state, removedBy, turnedAwayBy } }: NodeStatus,
  command: CommandText,
): Finding[] {
  const check = 'node';
  if (!ready) return [wrong(check, `${name} is not ready`, 'wait for its start to end; its log tells what it does')];
  const again = `"${command('init --join')}" makes a new node of this machine; then "nodes admit" on a member takes it in`;
  switch (state) {
    case 'member':
      return [ok(check, `${name} is ready`)];
    case 'pending':
      return [wrong(check, `${name} is not admitted`, `"${command('nodes admit')}" on a member takes it in`)];
    case 'removed':
      return [wrong(check, `${name} was removed by entry ${removedBy} of the control log`, again)];
    case 'turned_away':
      return [
        wrong(
          check,
          `${counted(turnedAwayBy, 'member turns', 'members turn')} ${name} away`,
          `see "${command('nodes')}" there; ${again}`,
        ),
      ];
  }
}

function quorumOf({ quorum, peers }: NodeStatus): Finding[] {
  const { reachable, coordinators, available } = quorum;
  const reach = `${reachable} of ${counted(coordinators, 'coordinator is', 'coordinators are')} reachable`;
  if (!available) {
    const advice =
      'start the coordinators that are offline, or mend the network to them; until then nothing is confirmed';
    return [wrong('quorum', reach, advice)];
  }
  const found = [ok('quorum', [reach, ...waitingTexts(quorum)].join('; '))];
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
    found.push(
      wrong(
        'network',
        `none of ${counted(peers.known, 'other member')} is connected`,
        'look at addresses and firewalls',
      ),
    );
  }
  return found;
}

/** Two control logs in one cluster: nothing decides between them but people. */
function forkOf({ status: { control }, nodes }: Examined, command: CommandText): Finding[] {
  if (control.forked === null) return [];
  const { seq, ours, theirs, nodeId } = control.forked;
  const name = nodes.find((node) => node.nodeId === nodeId)?.name ?? 'a member';
  const advice =
    `change nothing by entries of the log; compare "${command('control-log export')}" of both, and keep the side that is right: ` +
    `whoever is on the other goes on reading, and joins again as a new node ("${command('init --join')}", then "nodes admit")`;
  const message = `two certified entries stand at place ${seq} of the control log: ${ours} here, ${theirs} at ${name}`;
  return [wrong('control log', message, advice)];
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

function nodesOf(nodes: readonly NodeInfo[], command: CommandText): Finding[] {
  const others = nodes.filter(({ self }) => !self);
  const away = others.filter(({ state }) => state === 'offline' || state === 'suspect');
  const unseen = others.filter(({ state }) => state === 'unknown');
  const apart = others.filter(({ state, connected }) => (state === 'online' || state === 'draining') && !connected);
  const found = [
    ...away.map(({ name, state, since }) => {
      const forMs = Math.max(0, Date.now() - since);
      const advice = `start it or mend the network to it; if it is gone for good: ${command(`nodes remove ${name}`)}`;
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
  const known = nodes.filter(({ version }) => version !== null);
  const versions = Map.groupBy(known, ({ version }) => version);
  if (versions.size <= 1) return [ok('versions', `all run ${known[0]?.version ?? 'an unknown version'}`)];
  const list = Array.from(versions, ([version, same]) => `${version} on ${same.map(({ name }) => name).join(', ')}`);
  return [note('versions', `different versions run: ${list.join('; ')}`, 'bring all to the newest')];
}

function clocksOf(nodes: readonly NodeInfo[]): Finding[] {
  const known = nodes.filter(({ self, clockOffsetMs }) => !self && clockOffsetMs !== null);
  const off = known.filter(({ clockOffsetMs }) => Math.abs(clockOffsetMs ?? 0) > clockOffsetMsMax);
  if (off.length === 0)
    return known.length === 0
      ? []
      : [ok('clocks', `${counted(known.length, 'clock agrees', 'clocks agree')} with this one`)];
  return off.map(({ name, clockOffsetMs }) => {
    const by = `${Math.abs(Math.round((clockOffsetMs ?? 0) / 100) / 10)} s ${(clockOffsetMs ?? 0) > 0 ? 'ahead' : 'behind'}`;
    const advice = 'nothing is decided by clocks, but times that are shown mislead: set it right by NTP';
    return note('clocks', `the clock of ${name} is ${by}`, advice);
  });
}

function disksOf({ nodes, status }: Examined, command: CommandText): Finding[] {
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
      `free room, or drain it: ${command(`drain ${name}`)}`,
    ),
  );
}
