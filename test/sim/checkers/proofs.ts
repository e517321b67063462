import { toBase32 } from '../../../crdt/digest.ts';
import type { BlobHash, DocId, VersionId } from '../../../crdt/ids.ts';
import type { KvKey, KvReader } from '../../../src/ports/kv.ts';
import type { PlacementMap } from '../../../src/replication/placement-map.ts';
import { copyRange, firstHash, intentRange, nodeOfKey, secondHash } from '../../../src/replication/storage-keys.ts';
import type { Machine } from '../machine.ts';
import { certificateRoom, certificatesOf } from '../parsed-rows.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';

const copyRoom = copyRange('a'.repeat(52) as BlobHash).start[0];
const intentRoom = intentRange().start[0];
/** Where a row about a copy has the time of its last proof, see `ReplicaIndex`. */
const provedAt = 8;
/** Longer than an answer is waited for, and than it takes until what it said is on disk. */
const beliefMsMax = 180_000;
/** So long before its row goes was a write judged, at most: whoever drops its copy has others prove theirs in between. */
const judgedMsMax = 120_000;
/** Copies without which nothing is confirmed by itself, where the policy asks for as many. */
const backingCopies = 2;

interface Row {
  readonly machine: Machine;
  readonly store: KvReader;
  readonly key: KvKey;
}

/**
 * Invariant 6, for proofs: whom a coordinator notes as having proved a content has it, or had it a moment ago; a write is
 * taken for held only when as many nodes as its policy asks have had its content; and nothing is confirmed by itself
 * before two have.
 */
export const proofs: CheckerFactory = {
  name: 'proofs',
  create: (world) => {
    const believed = new Map<string, number>();
    const confirmed = new Set<VersionId>();
    // Whoever proposed went by one of these, and may have done so a while before the certificate came.
    const maps = new Set<PlacementMap>();
    const mapsOf = new Map<Machine, Map<PlacementMap, number>>();
    return {
      committed: ({ machine, store, keys }, violate) => {
        const map = machine.process?.node.replicationParts.placement.map();
        const own = mapsOf.get(machine) ?? new Map<PlacementMap, number>();
        mapsOf.set(machine, own);
        if (map !== undefined) {
          maps.add(map);
          own.set(map, world.nowMs());
        }
        for (const key of keys) {
          const row = { machine, store, key };
          if (key[0] === copyRoom) checkBelief(believed, row, world, violate);
          if (key[0] === intentRoom && store.get(key) === undefined) checkEndOfIntent(own, row, world, violate);
          if (key[0] === certificateRoom) checkConfirmed({ confirmed, maps }, row, world, violate);
        }
      },
    };
  },
};

/** A row is written again for other reasons too: what counts is when it names another time. */
function checkBelief(
  believed: Map<string, number>,
  { machine, store, key }: Row,
  world: World,
  violate: Violate,
): void {
  const row = store.get(key);
  const seconds = row === undefined ? 0 : new DataView(row.buffer, row.byteOffset, row.byteLength).getUint32(provedAt);
  const name = `${machine.name} ${Buffer.from(key).toString('base64')}`;
  const isNews = seconds > 0 && believed.get(name) !== seconds;
  believed.set(name, seconds);
  if (!isNews) return;
  const manifest = firstHash<BlobHash>(key);
  const node = nodeOfKey(key);
  const holder = [...world.machines.values()].find(({ member }) => member.nodeId === node);
  if (holder?.contents.hadSince(manifest, world.nowMs() - beliefMsMax)) return;
  violate(`${machine.name} believes that ${holder?.name ?? node} proved content ${manifest}, which it has not`);
}

function checkEndOfIntent(
  maps: ReadonlyMap<PlacementMap, number>,
  { machine, key }: Row,
  world: World,
  violate: Violate,
): void {
  const manifest = firstHash<BlobHash>(key);
  const record = world.library.get(secondHash<VersionId>(key))?.version.record;
  const judgedBy = [...maps].filter(([, ms]) => ms >= world.nowMs() - judgedMsMax);
  if (record === undefined || judgedBy.length === 0) return;
  const wanted = Math.min(...judgedBy.map(([map]) => map.desired(record.ns, record.key).holders.length));
  const had = copiesEver(manifest, world);
  if (had < wanted)
    violate(`${machine.name} takes its write of ${record.key} for held, and ${had} of ${wanted} ever had its content`);
}

function checkConfirmed(
  { confirmed, maps }: { readonly confirmed: Set<VersionId>; readonly maps: ReadonlySet<PlacementMap> },
  { store, key }: Row,
  world: World,
  violate: Violate,
): void {
  const head = certificatesOf(store, toBase32(key.subarray(1)) as DocId)?.latest.statement.head as
    | VersionId
    | undefined;
  if (head === undefined || confirmed.has(head)) return;
  confirmed.add(head);
  // Whoever asks for it does not wait for copies.
  if (world.askedForByHostile.has(head)) return;
  const record = world.library.get(head)?.version.record;
  const machines = [...world.machines.values()];
  const writer = machines.find(({ member }) => member.nodeId === record?.node);
  // With its disk it forgot that there was something to wait for.
  if (record === undefined || record.content === null || writer === undefined || writer.hadAnotherDisk) return;
  if (world.ledger.hurried.has(record.content.b3)) return;
  const desired = Array.from(maps, (map) => map.desired(record.ns, record.key).holders.length);
  const had = copiesEver(record.content.manifest, world);
  if (had < Math.min(backingCopies, ...desired))
    violate(`version ${head} of ${record.key} was confirmed, and ${had} nodes ever had its content`);
}

function copiesEver(manifest: BlobHash, { machines }: World): number {
  const holders = [...machines.values()].filter(({ contents }) => contents.hadSince(manifest, 0));
  return holders.length;
}
