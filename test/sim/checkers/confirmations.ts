import type { Certificate } from '../../../crdt/certificate.ts';
import { toBase32 } from '../../../crdt/digest.ts';
import { isReachable } from '../../../crdt/graph-difference.ts';
import type { DocId, VersionId } from '../../../crdt/ids.ts';
import type { CertificateRow } from '../../../src/node/confirmation/certificate-rows.ts';
import type { ObjectRow } from '../../../src/node/rows.ts';
import { objectKey } from '../../../src/node/storage-keys.ts';
import type { KvReader } from '../../../src/ports/kv.ts';
import type { Machine } from '../machine.ts';
import { certificateRoom, certificatesOf, parsedRow } from '../parsed-rows.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';
import { ControlHistory } from './control-history.ts';
import { RegisterLinks, type Taken } from './register-links.ts';

/**
 * Invariant 5 over every certificate that any node ever stored: each is signed by a majority of those who vote in its epoch,
 * as the control log has it, no register and position has two heads, and each link names the one before. That makes a
 * register's history one line; it is linearizable when a link appears only after the one before it, descends from it, and
 * no node's view of it ever goes back while its disk does not.
 *
 * Excepted are links that too few know of since disks were exchanged, see `RegisterLinks`: another can be certified in such
 * a place, and nobody can tell; which of the two counts, all nodes agree on in the end.
 */
export const confirmations: CheckerFactory = {
  name: 'confirmations',
  create: (world) => {
    const history = ControlHistory.of(world);
    const links = new RegisterLinks(world, history);
    const seen = new Map<string, { readonly kv: unknown; readonly position: number }>();
    return {
      committed: (commit, violate) => {
        const { machine, store, keys, docs } = commit;
        // Who votes in an epoch is known before the first certificate of it.
        history.stored(commit);
        for (const key of keys) {
          const row = key[0] === certificateRoom ? parsedRow<CertificateRow>(store, key) : undefined;
          if (row === undefined) continue;
          const doc = toBase32(key.subarray(1)) as DocId;
          for (const certificate of row.earlier === undefined ? [row.latest] : [row.earlier, row.latest]) {
            if (certificate.statement.register !== doc)
              violate(`${machine.name} stored a certificate of ${certificate.statement.register} as one of ${doc}`);
            const fault = history.faultOf(certificate);
            if (fault !== undefined)
              violate(`${machine.name} stored a certificate of ${doc} that does not hold: ${fault}`);
            checkLink(links.take(certificate, machine), certificate, world, violate);
          }
          checkView(seen, { machine, doc, row }, violate);
        }
        for (const doc of docs) checkConfirmedHead({ machine, store, doc }, violate);
      },
      ended: (machine) => links.reconsider(machine),
      quiet: (violate) => {
        for (const doc of links.registers() as Iterable<DocId>) {
          const known = world.holdersOf(doc).map(({ name, kv }) => {
            const { position, head } = certificatesOf(kv, doc)?.latest.statement ?? { position: 0, head: null };
            return { name, position, head };
          });
          // What was on no disk but one that was rolled back is gone, and the next proposal certifies it again.
          const last = Math.max(...known.map(({ position }) => position));
          const behind = known.find(({ position }) => position < last);
          if (behind !== undefined) violate(`${behind.name} knows position ${behind.position} of ${doc}, not ${last}`);
          const other = known.find(({ head }) => head !== known[0]?.head);
          if (other !== undefined)
            violate(`${known[0]?.name} and ${other.name} chose different heads at ${last} of ${doc}`);
        }
      },
    };
  },
};

/** A link that is new descends from the one before it. */
function checkLink(taken: Taken, { statement }: Certificate, world: World, violate: Violate): void {
  if (taken.kind === 'fault') violate(taken.message);
  if (taken.kind !== 'first' || taken.before === undefined) return;
  const { register, position } = statement;
  const [before, head] = [taken.before.head, statement.head] as [VersionId, VersionId];
  const lookup = (id: VersionId) => world.library.get(id)?.version.record;
  if (lookup(head) !== undefined && !isReachable(before, head, lookup)) {
    violate(`${head}, at position ${position} of ${register}, does not descend from ${before}`);
  }
}

function checkView(
  seen: Map<string, { readonly kv: unknown; readonly position: number }>,
  { machine, doc, row }: { readonly machine: Machine; readonly doc: DocId; readonly row: CertificateRow },
  violate: Violate,
): void {
  const name = `${machine.name} ${doc}`;
  const before = seen.get(name);
  const { position } = row.latest.statement;
  // Another disk: what was not flushed when the power went, or all of it, is gone.
  if (before?.kv === machine.kv && before.position > position) {
    violate(`${machine.name} went back from position ${before.position} of ${doc} to ${position}`);
  }
  seen.set(name, { kv: machine.kv, position });
}

function checkConfirmedHead(
  { machine, store, doc }: { readonly machine: Machine; readonly store: KvReader; readonly doc: DocId },
  violate: Violate,
): void {
  const confirmed = parsedRow<ObjectRow>(store, objectKey(doc))?.confirmed;
  if (confirmed === undefined) return;
  const row = certificatesOf(store, doc);
  const proofs = row === undefined ? [] : [row.latest, ...(row.earlier === undefined ? [] : [row.earlier])];
  const isProved = proofs.some(
    ({ statement }) => statement.head === confirmed.id && statement.position === confirmed.position,
  );
  if (!isProved) violate(`${machine.name} calls ${confirmed.id} confirmed and has no certificate of it`);
  if (!machine.holdings.has(confirmed.id))
    violate(`${machine.name} calls ${confirmed.id} confirmed and does not hold it`);
}
