import type { BlobHash, VersionId } from '../../../crdt/ids.ts';
import { firstHash, intentRange, secondHash } from '../../../src/replication/storage-keys.ts';
import type { Machine } from '../machine.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';
import { lackOf } from './drops.ts';

interface ObjectName {
  readonly ns: string;
  readonly key: string;
}

/**
 * In the end everything is where it is placed, and those who audit see it so: each finds no pull to order, nothing
 * missing or misplaced, and no copy suspect. What lies on no sound disk any more is excepted.
 */
export const replicas: CheckerFactory = {
  name: 'replicas',
  create: (world) => ({
    quiet: async (violate) => {
      for (const machine of world.machines.values()) await checkPlan(machine, world, violate);
    },
  }),
};

async function checkPlan(machine: Machine, world: World, violate: Violate): Promise<void> {
  const auditor = machine.process?.node.replicationParts.auditor;
  if (auditor?.status().isAuditor !== true) return;
  const { totals, pulls } = await world.run(auditor.plan());
  for (const { subject, to, isWaiting } of pulls) {
    // A member that is not missed yet, though it never answers, has its place until then.
    if (world.hostile.has(to) || world.ledger.excusedContents.has(subject.manifest)) continue;
    violate(`${machine.name} would ${isWaiting ? 'later ' : ''}have ${to} fetch content ${subject.manifest}`);
    return;
  }
  // Where those who are left are too few, some copies lack for good.
  if (Array.from(world.library.all()).some(({ version }) => isShort(version.record, world))) return;
  const excused = excusedVersions(world);
  const ill = totals.under + totals.mis + totals.unreachable;
  if (ill > excused)
    violate(`${machine.name} finds ${ill} versions ill, and ${excused} are lost: ${JSON.stringify(totals)}`);
}

/** True when nobody is left to stand in for a hostile member. */
function isShort(object: ObjectName, world: Pick<World, 'contentPlacement' | 'contentHoldersOf'>): boolean {
  const desired = world.contentPlacement()?.desired(object.ns, object.key).holders.length ?? 0;
  return world.contentHoldersOf(object).length < desired;
}

/**
 * True when a node keeps what it wrote, and need not hold, for a hostile member: with that one there its copy could go, but
 * those who are left do not meet the policy, though as many as they are have proved their copies to it.
 */
function isKeptForHostile(machine: Machine, record: ObjectName, manifest: BlobHash, world: World): boolean {
  const placement = world.contentPlacement();
  const left = world.contentHoldersOf(record);
  if (placement === undefined || left.includes(machine)) return false;
  const isMetByAll = placement.desired(record.ns, record.key).lacks.length === 0;
  const isMetByLeft = lackOf(left, { placement, policy: placement.policyOf(record.ns) }) === undefined;
  const proved = machine.process?.node.replicationParts.intents.provedCopies(manifest) ?? 0;
  // Its own is one of them.
  return isMetByAll && !isMetByLeft && proved > left.length;
}

function excusedVersions({ library, ledger }: World): number {
  const contents = Array.from(library.all(), ({ version }) => version.record.content?.manifest);
  return contents.filter((manifest) => manifest !== undefined && ledger.excusedContents.has(manifest)).length;
}

/** A copy that a coordinator did not know as it is when somebody last looked. */
interface UnknownCopy {
  readonly machine: Machine;
  readonly manifest: BlobHash;
}

/**
 * While a mesh comes to rest it is looked at every second, and most of the time what lacks is what lacked a second ago: so
 * that is looked at first, and all the rest only when it is there.
 */
const lastUnknown = new WeakMap<World, UnknownCopy>();

/**
 * Why replication is not at rest: a node still waits for others to prove what it wrote, or a coordinator does not know
 * what another node has. Undefined when it is.
 */
export function unsettledReplicas(world: World): string | undefined {
  const machines = [...world.machines.values()];
  const manifests = new Set(machines.flatMap(({ contents }) => [...contents.all()]));
  const last = lastUnknown.get(world);
  const still = last && manifests.has(last.manifest) ? unknownBy(last.machine, [last.manifest], world) : undefined;
  if (still !== undefined) return still;
  for (const machine of machines) {
    const { name, kv } = machine;
    for (const [key] of kv.range(intentRange())) {
      const manifest = firstHash<BlobHash>(key);
      const record = world.library.get(secondHash<VersionId>(key))?.version.record;
      if (world.ledger.excusedContents.has(manifest) || record === undefined || isShort(record, world)) continue;
      if (isKeptForHostile(machine, record, manifest, world)) continue;
      return `${name} waits for proofs of content ${manifest} that it wrote`;
    }
    const unknown = unknownBy(machine, manifests, world);
    if (unknown !== undefined) return unknown;
  }
  return undefined;
}

/** What a node that audits does not know, or doubts, of who has these contents; undefined for one that does not audit. */
function unknownBy(machine: Machine, manifests: Iterable<BlobHash>, world: World): string | undefined {
  const parts = machine.process?.node.replicationParts;
  if (parts?.auditor.status().isAuditor !== true) return undefined;
  for (const manifest of manifests) {
    const copies = parts.index.holders(manifest);
    for (const { name, member, contents } of world.machines.values()) {
      const copy = copies.find(({ nodeId }) => nodeId === member.nodeId);
      if ((copy !== undefined) === contents.has(manifest) && copy?.isSuspect !== true) continue;
      lastUnknown.set(world, { machine, manifest });
      if (copy?.isSuspect && contents.has(manifest))
        return `${machine.name} suspects ${name} of not having content ${manifest}`;
      return `${machine.name} ${copy ? 'believes' : 'does not know'} that ${name} has content ${manifest}`;
    }
  }
  return undefined;
}
