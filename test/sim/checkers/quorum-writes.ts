import type { ObjectRow } from '../../../src/node/rows.ts';
import { objectKey } from '../../../src/node/storage-keys.ts';
import type { Machine } from '../machine.ts';
import { parsedRow } from '../parsed-rows.ts';
import type { KnownVersion, VersionLibrary } from '../version-library.ts';
import type { CheckerFactory } from './checker.ts';

/**
 * What a client was told is confirmed is so at that moment where it was told, and in the end everywhere: it is the confirmed
 * head or an ancestor of it.
 */
export const quorumWrites: CheckerFactory = {
  name: 'quorum-writes',
  create: (world) => ({
    quiet: (violate) => {
      const { ledger, library } = world;
      for (const id of ledger.confirmed) {
        const known = library.get(id);
        if (known === undefined || ledger.excusedVersions.has(id)) continue;
        const lacking = world.holdersOf(known.doc).find((machine) => !isConfirmedOn(machine, known, library));
        if (lacking === undefined) continue;
        violate(`version ${id} was called confirmed, and is not on ${lacking.name}`);
        return;
      }
    },
  }),
};

export function isConfirmedOn({ kv }: Machine, { version, doc }: KnownVersion, library: VersionLibrary): boolean {
  const head = parsedRow<ObjectRow>(kv, objectKey(doc))?.confirmed?.id;
  if (head === undefined) return false;
  return head === version.id || library.get(head)?.ancestors.has(version.id) === true;
}
