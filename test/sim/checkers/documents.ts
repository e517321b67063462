import type { DocId } from '../../../crdt/ids.ts';
import { openDocument } from '../../../crdt/object-document.ts';
import { changeRange, snapshotKey } from '../../../src/node/storage-keys.ts';
import type { Machine } from '../machine.ts';
import type { CheckerFactory, Violate } from './checker.ts';

/** Bytes of the change's hash before the change in its row. */
const changeHashBytes = 32;

/** The Automerge document of every object has the same changes on all nodes, and its heads are the object's. */
export const documents: CheckerFactory = {
  name: 'documents',
  create: ({ machines }) => ({
    quiet: (violate) => {
      const [first, ...others] = [...machines.values()];
      if (first === undefined) return;
      for (const doc of first.holdings.docs()) {
        const changes = changeHashes(first, doc);
        const differing = others.find((machine) => changeHashes(machine, doc) !== changes);
        if (differing !== undefined) {
          violate(`${first.name} and ${differing.name} built object ${doc} of different changes`);
          return;
        }
        for (const machine of [first, others.at(-1) ?? first]) checkDocument(machine, doc, violate);
      }
    },
  }),
};

function changeHashes(machine: Machine, doc: DocId): string {
  const rows = machine.kv.range(changeRange(doc));
  return Array.from(rows, ([, row]) => Buffer.from(row.subarray(0, changeHashBytes)).toString('hex')).join();
}

function checkDocument(machine: Machine, doc: DocId, violate: Violate): void {
  const snapshot = machine.kv.get(snapshotKey(doc));
  const changes = Array.from(machine.kv.range(changeRange(doc)), ([, row]) => row.subarray(changeHashBytes));
  const document = openDocument([...(snapshot === undefined ? [] : [snapshot]), ...changes]);
  const heads = [...document.heads()].sort().join();
  const versions = document.versions().join();
  document.free();
  if (heads !== machine.holdings.headsOf(doc).join()) violate(`the document ${doc} has other heads than its object`);
  const held = [...machine.holdings.versionsOf(doc)].sort().join();
  if (versions !== held) violate(`the document ${doc} has other versions than its object`);
}
