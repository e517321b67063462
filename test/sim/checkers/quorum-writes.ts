import type { VersionId } from '../../../crdt/ids.ts';
import type { ObjectRow } from '../../../src/node/rows.ts';
import { objectKey } from '../../../src/node/storage-keys.ts';
import type { Machine } from '../machine.ts';
import { certificatesOf, parsedRow } from '../parsed-rows.ts';
import type { KnownVersion, VersionLibrary } from '../version-library.ts';
import type { CheckerFactory } from './checker.ts';

/**
 * What a client was told is confirmed is so in the end on every node: it is the confirmed head or an ancestor of it. At that
 * moment the node that says so has a certificate of such a head (`isCertifiedOn`), which may not have arrived there itself.
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

function isConfirmedOn({ kv }: Machine, known: KnownVersion, library: VersionLibrary): boolean {
  return isUnder(known, parsedRow<ObjectRow>(kv, objectKey(known.doc))?.confirmed?.id, library);
}

export function isCertifiedOn({ kv }: Machine, known: KnownVersion, library: VersionLibrary): boolean {
  const { latest, earlier } = certificatesOf(kv, known.doc) ?? {};
  return [latest, earlier].some((each) => isUnder(known, each?.statement.head as VersionId | undefined, library));
}

function isUnder({ version }: KnownVersion, head: VersionId | undefined, library: VersionLibrary): boolean {
  if (head === undefined) return false;
  return head === version.id || library.get(head)?.ancestors.has(version.id) === true;
}
