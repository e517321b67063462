import type { VersionId } from '../../../crdt/ids.ts';
import type { ObjectRow } from '../../../src/node/rows.ts';
import { conflictKey, listingKey, objectKey } from '../../../src/node/storage-keys.ts';
import { parsedRow } from '../parsed-rows.ts';
import type { VersionLibrary } from '../version-library.ts';
import type { CheckerFactory } from './checker.ts';

/**
 * Invariant 2, on each node at every step: an object's heads are the versions that no other held version supersedes,
 * its preferred head is the confirmed one or else the greatest of them by generation and id, and the indices say the
 * same.
 */
export const heads: CheckerFactory = {
  name: 'heads',
  create: (world) => ({
    committed: ({ machine, store, docs }, violate) => {
      for (const doc of docs) {
        const expected = machine.holdings.headsOf(doc);
        const row = parsedRow<ObjectRow>(store, objectKey(doc));
        const found = row?.heads.map((head) => head.id) ?? [];
        if (row === undefined || found.join() !== expected.join()) {
          violate(`${machine.name} names [${found}] as heads of ${row?.ns}/${row?.key}, but they are [${expected}]`);
          return;
        }
        const held = machine.holdings.versionsOf(doc).size;
        if (row.versions !== held) violate(`${machine.name} counts ${row.versions} versions of an object with ${held}`);
        const preferred = row.confirmed?.id ?? greatest(expected, world.library);
        const shown = preferred === undefined ? expected : [preferred, ...expected];
        const isListed = shown.some((id) => world.library.get(id)?.version.record.kind !== 'delete');
        const listed = parsedRow<{ version: VersionId; heads: number }>(store, listingKey(row.ns, row.key));
        if (listed?.version !== (isListed ? preferred : undefined)) {
          violate(`${machine.name} lists ${row.ns}/${row.key} as ${listed?.version}, preferred is ${preferred}`);
        }
        const conflict = parsedRow<{ heads: VersionId[]; preferred: VersionId }>(store, conflictKey(row.ns, row.key));
        if (conflict?.heads.join() !== (expected.length > 1 ? expected.join() : undefined)) {
          violate(`${machine.name} shows the conflict of ${row.ns}/${row.key} as [${conflict?.heads}]`);
        }
      }
    },
  }),
};

/** The greatest head by (generation, id as text). */
export function greatest(ids: readonly VersionId[], library: VersionLibrary): VersionId | undefined {
  const generation = (id: VersionId): number => library.get(id)?.version.record.generation ?? 0;
  return [...ids].sort((a, b) => generation(b) - generation(a) || (a < b ? 1 : -1))[0];
}
