import type { ClusterId, DocId } from '../../../crdt/ids.ts';
import { openDocument } from '../../../crdt/object-document.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import type { Machine } from '../machine.ts';
import type { CheckerFactory, Violate } from './checker.ts';

/**
 * The Automerge document of every object has its versions on every node, and its heads are the object's. Opening documents is
 * dear, so two nodes are looked at in a run, which differ from run to run.
 */
export const documents: CheckerFactory = {
  name: 'documents',
  create: ({ machines, library }) => ({
    quiet: (violate) => {
      const all = [...machines.values()];
      const first = library.size % all.length;
      const drawn = new Set([all[first], all[(first + Math.ceil(all.length / 2)) % all.length]]);
      const read = new Map<DocId, Read>();
      for (const machine of drawn) {
        if (machine === undefined) continue;
        // Documents are asked for by their ids, so the names' cluster and slots do not matter. It remembers what it has
        // read, which must not be taken for what another disk has.
        const objects = new ObjectStore({ cluster: '' as ClusterId, slots: 1 });
        for (const doc of machine.holdings.docs()) checkDocument(machine, { objects, doc, read }, violate);
      }
    },
  }),
};

/** What a document of these bytes has. */
interface Read {
  readonly bytes: Uint8Array;
  readonly heads: string;
  readonly versions: string;
}

function checkDocument(
  machine: Machine,
  { objects, doc, read }: { readonly objects: ObjectStore; readonly doc: DocId; readonly read: Map<DocId, Read> },
  violate: Violate,
): void {
  const parts = objects.documentParts(machine.kv, doc);
  const bytes = Buffer.concat(parts);
  const known = read.get(doc);
  // The same bytes are the same document.
  const { heads, versions } = known !== undefined && bytes.equals(known.bytes) ? known : readDocument(parts, bytes);
  read.set(doc, { bytes, heads, versions });
  if (heads !== machine.holdings.headsOf(doc).join()) violate(`the document ${doc} has other heads than its object`);
  const held = [...machine.holdings.versionsOf(doc)].sort().join();
  if (versions !== held) violate(`the document ${doc} has other versions than its object`);
}

function readDocument(parts: readonly Uint8Array[], bytes: Uint8Array): Read {
  const document = openDocument(parts);
  const heads = [...document.heads()].sort().join();
  const versions = document.versions().join();
  document.free();
  return { bytes, heads, versions };
}
