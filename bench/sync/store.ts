import { randomBytes } from 'node:crypto';
import { rawHash, toBase32 } from '../../crdt/digest.ts';
import { setItem } from '../../crdt/fingerprint-tree.ts';
import type { DocId, NodeId, VersionId } from '../../crdt/ids.ts';
import { SlotSet } from '../../crdt/slot-set.ts';
import { decodeVersion, type Version, verifyVersion } from '../../crdt/version.ts';
import { openLmdbKv } from '../../src/adapters/lmdb/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import { Incarnation } from '../../src/node/incarnation.ts';
import { ObjectStore } from '../../src/node/object-store.ts';
import { SlotTrees, slotTreeWriter } from '../../src/node/slot-trees.ts';
import { SyncView } from '../../src/node/sync-view.ts';
import type { Kv } from '../../src/ports/kv.ts';
import { testCluster, testNode, write } from '../../test/support/versions.ts';

export const slots = 16;
const objectsPerTransaction = 500;
const writer = testNode('writer');

/** A node's store without the node: what sync reads, and what it writes. */
export interface Store {
  readonly kv: Kv;
  readonly objects: ObjectStore;
  readonly view: SyncView;
  /** Rows read since it was opened, by key or in ranges. */
  rowsRead(): number;
}

const held = { kept: SlotSet.all(slots), whole: SlotSet.all(slots) };

export async function openStore(dir: string): Promise<Store> {
  const counted = countReads(await openLmdbKv(dir));
  const { kv } = counted;
  const objects = new ObjectStore({ cluster: testCluster, slots });
  const incarnation = new Incarnation({ kv, random: new SystemRandom() }, toBase32(randomBytes(16)) as NodeId);
  await incarnation.start();
  const trees = new SlotTrees({ kv, clock: new SystemClock(), log: new MemoryLog(), states: objects });
  return {
    kv,
    objects,
    view: new SyncView({ kv, objects, incarnation, content: { small: () => undefined }, slots: held, trees }),
    rowsRead: counted.rowsRead,
  };
}

/** Fills a store with objects of one signed version each. */
export async function addObjects({ kv, objects }: Store, from: number, count: number): Promise<void> {
  for (let done = 0; done < count; done += objectsPerTransaction) {
    const first = from + done;
    await kv.transact((transaction) => {
      for (let index = first; index < Math.min(first + objectsPerTransaction, from + count); index += 1) {
        objects.append(transaction, write(writer, [], { key: keyOf(index) }));
      }
    });
  }
}

/**
 * Fills the reconciliation tree alone, with documents of random ids and states: what a store of very many objects
 * compares, in minutes instead of an hour.
 */
export async function addTreeItems({ kv, objects }: Store, count: number): Promise<void> {
  for (let done = 0; done < count; done += objectsPerTransaction) {
    await kv.transact((transaction) => {
      for (let index = 0; index < objectsPerTransaction; index += 1) {
        const doc = toBase32(randomBytes(32)) as DocId;
        const slot = objects.slotOf(doc);
        setItem(slotTreeWriter(transaction, slot), rawHash(doc), randomBytes(32));
      }
    });
  }
}

/** Writes one more version of each of these objects. */
export async function changeObjects({ kv, objects }: Store, indices: readonly number[]): Promise<void> {
  await kv.transact((transaction) => {
    for (const index of indices) {
      const doc = objects.documentId('docs', keyOf(index));
      const heads = objects.object(transaction, doc)?.heads ?? [];
      const parents = heads.map((head) => objects.version(transaction, head.id as VersionId) as Version);
      objects.append(transaction, write(writer, parents, { key: keyOf(index) }));
    }
  });
}

/** Takes in records as a node does: checked, with their signatures. */
export async function takeIn({ kv, objects }: Store, texts: readonly Uint8Array[]): Promise<number> {
  return kv.transact((transaction) => {
    let added = 0;
    for (const text of texts) {
      const decoded = decodeVersion(text);
      if (!decoded.ok || !verifyVersion(decoded.value, testCluster, writer.signer.publicKey)) {
        throw new Error('a record does not hold');
      }
      if (objects.holds(transaction, decoded.value.id)) continue;
      objects.append(transaction, decoded.value);
      added += 1;
    }
    return added;
  });
}

function keyOf(index: number): string {
  return `objects/${index}`;
}

function countReads(kv: Kv): { readonly kv: Kv; rowsRead(): number } {
  let rows = 0;
  const counting: Kv = {
    get(key) {
      rows += 1;
      return kv.get(key);
    },
    *range(range) {
      for (const entry of kv.range(range)) {
        rows += 1;
        yield entry;
      }
    },
    transact: (change) => kv.transact(change),
    flush: () => kv.flush(),
    identity: () => kv.identity(),
    close: () => kv.close(),
  };
  return { kv: counting, rowsRead: () => rows };
}
