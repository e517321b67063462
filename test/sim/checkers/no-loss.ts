import { toBase32 } from '../../../crdt/digest.ts';
import type { BlobHash, VersionId } from '../../../crdt/ids.ts';
import { completeKey } from '../../../src/node/content/content-keys.ts';
import { versionKey } from '../../../src/node/storage-keys.ts';
import { rowsOf } from '../holdings.ts';
import { isContentIntact } from '../soundness.ts';
import type { CheckerFactory } from './checker.ts';

const anyHash = 'a'.repeat(52);
const versionRoom = versionKey(anyHash as VersionId)[0];
const anyCompleteKey = completeKey(anyHash as BlobHash);

/**
 * Invariant 1: what was acknowledged is on the disk of the node that said so after every crash, what a node calls whole
 * is so, no version is ever removed, and in the end all are on all nodes that hold their slots, and their contents on
 * all nodes that they are placed on. What a node drops it owes no more; whether it may is for another checker to say.
 */
export const noLoss: CheckerFactory = {
  name: 'no-loss',
  create: (world) => ({
    committed: ({ machine, store, keys, dropped }, violate) => {
      for (const manifest of dropped) machine.owedContents.delete(manifest);
      for (const key of keys) {
        if (key[0] === versionRoom && store.get(key) === undefined) violate(`${machine.name} removed a version`);
      }
    },
    ended: (machine, violate) => {
      for (const id of machine.owed) {
        if (machine.kv.get(versionKey(id)) === undefined) {
          violate(`${machine.name} acknowledged version ${id} and lost it`);
          return;
        }
      }
      for (const manifest of machine.owedContents) {
        if (isContentIntact(machine, manifest, 'now')) continue;
        violate(`${machine.name} acknowledged content ${manifest} and lost it`);
        return;
      }
      for (const [key] of rowsOf(machine.kv, anyCompleteKey[0] as number)) {
        if (key.length !== anyCompleteKey.length) continue;
        const manifest = toBase32(key.subarray(1, -1)) as BlobHash;
        if (machine.spoiledContents.has(manifest) || isContentIntact(machine, manifest, 'now')) continue;
        violate(`${machine.name} took content ${manifest} for whole and durable, and it is not`);
        return;
      }
    },
    quiet: (violate) => {
      const { ledger, library, machines } = world;
      for (const [id, acknowledgedBy] of ledger.acknowledged) {
        const known = library.get(id);
        const lacking = known && world.holdersOf(known.doc).find(({ holdings }) => !holdings.has(id));
        if ((known !== undefined && lacking === undefined) || ledger.excusedVersions.has(id)) continue;
        violate(`version ${id}, acknowledged by ${acknowledgedBy}, is not on ${lacking?.name ?? 'any node'}`);
        return;
      }
      for (const id of new Set([...machines.values()].flatMap(({ holdings }) => [...holdings.ids()]))) {
        const record = library.get(id)?.version.record;
        const manifest = record?.content?.manifest;
        if (record === undefined || manifest === undefined || ledger.excusedContents.has(manifest)) continue;
        const lacking = world.contentHoldersOf(record).find((machine) => !isContentIntact(machine, manifest, 'now'));
        if (lacking === undefined) continue;
        violate(`the content of version ${id} is not whole on ${lacking.name}, where it is placed`);
        return;
      }
    },
  }),
};
