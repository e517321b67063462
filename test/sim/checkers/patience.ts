import type { BlobHash, NodeId } from '../../../crdt/ids.ts';
import type { PlacementMap } from '../../../src/replication/placement-map.ts';
import type { Machine } from '../machine.ts';
import type { CheckerFactory, World } from './checker.ts';

/** How often it is looked who is missing. */
const lookEveryMs = 1_000;

/**
 * Nothing moves because a node is offline until it has been so for the repair delay: whoever fetches a content that was
 * never placed on it stands in for a node that somebody had missed for that long, that had no room, or that could not be trusted with it.
 */
export const patience: CheckerFactory = {
  name: 'patience',
  create: (world) => {
    const gone = new Set<NodeId>();
    const maps = new Set<PlacementMap>();
    let lookedMs = Number.NEGATIVE_INFINITY;
    const look = (): void => {
      lookedMs = world.nowMs();
      const map = world.contentPlacement();
      if (map !== undefined) maps.add(map);
      for (const node of missingFor(world.repairDelayMs, world)) gone.add(node);
    };
    return {
      committed: ({ machine, gained }, violate) => {
        if (gained.length > 0 || world.nowMs() >= lookedMs + lookEveryMs) look();
        for (const manifest of gained) {
          if (mayGain({ machine, manifest }, { gone, maps, world }) || isUnproved(manifest, world)) continue;
          violate(`${machine.name} fetched content ${manifest}, which is not placed on it, and nobody has gone`);
        }
      },
    };
  },
};

/** Members that some node has missed for so long. */
function missingFor(delayMs: number, { machines, members }: World): NodeId[] {
  const liveness = [...machines.values()].flatMap(({ process }) =>
    process?.ready ? [process.node.model.liveness] : [],
  );
  return members
    .map(({ nodeId }) => nodeId)
    .filter((nodeId) => liveness.some((watch) => (watch.offlineForMs(nodeId) ?? 0) >= delayMs));
}

function mayGain(
  { machine, manifest }: { readonly machine: Machine; readonly manifest: BlobHash },
  seen: { readonly gone: ReadonlySet<NodeId>; readonly maps: ReadonlySet<PlacementMap>; readonly world: World },
): boolean {
  const { gone, maps, world } = seen;
  const all = [...world.machines.values()];
  // It wrote it, or it had it before; or somebody was found to have it rotten, or not any more on another disk.
  const isMistrusted = ({ spoiledContents, contents }: Machine): boolean =>
    spoiledContents.has(manifest) || contents.failedSince(manifest, 0);
  if (machine.contents.hadBefore(manifest) || all.some(isMistrusted)) return true;
  const { nodeId } = machine.member;
  let isKnown = false;
  for (const { version } of world.library.all()) {
    const { ns, key, content, node } = version.record;
    if (content?.manifest !== manifest) continue;
    isKnown = true;
    if (node === nodeId) return true;
    for (const map of maps) {
      const { holders } = map.desired(ns, key);
      if (holders.includes(nodeId)) return true;
      if (holders.some((holder) => gone.has(holder) || cannotHold(holder, world))) return true;
    }
  }
  // What comes with the first version of it is not in the library yet.
  return !isKnown;
}

/** Whether a holder of it was online and let every question for a proof pass: the same as one that is gone, for this content. */
function isUnproved(manifest: BlobHash, { machines }: World): boolean {
  return [...machines.values()].some(
    ({ process }) =>
      process?.log.lines.linesOf('replication:unproved').some(({ fields }) => fields.manifest === manifest) === true,
  );
}

/** A member that keeps no rule, or had no room. */
function cannotHold(node: NodeId, { hostile, ledger, machines }: World): boolean {
  const isFull = [...machines.values()].some(({ member, hadFullDisk }) => hadFullDisk && member.nodeId === node);
  return isFull || hostile.has(node) || ledger.liars.has(node);
}
