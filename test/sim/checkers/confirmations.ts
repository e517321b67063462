import { type Certificate, linkHash, majorityOf, verifyCertificate } from '../../../crdt/certificate.ts';
import { coordinatorsOf, foundingState } from '../../../crdt/control/state.ts';
import { toBase32 } from '../../../crdt/digest.ts';
import { decodeGenesis } from '../../../crdt/genesis.ts';
import { isReachable } from '../../../crdt/graph-difference.ts';
import type { DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { CertificateRow } from '../../../src/node/confirmation/certificate-rows.ts';
import type { ObjectRow } from '../../../src/node/rows.ts';
import { objectKey } from '../../../src/node/storage-keys.ts';
import type { KvKey, KvReader } from '../../../src/ports/kv.ts';
import type { Machine } from '../machine.ts';
import { certificateRoom, certificatesOf, parsedRow } from '../parsed-rows.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';

/** What a coordinator keeps of its own votes as a whole, see `KvAcceptorStore`. */
const voterKey: KvKey = Uint8Array.of(0x60);

/** A link of a register's chain, as the first certificate of it said. */
interface Link {
  readonly position: number;
  readonly head: VersionId;
  readonly previous: string | null;
  /** Coordinators that voted for it and have not lost what they knew since. */
  readonly voters: Set<NodeId>;
  /** The rounds it was certified in: a certificate that is stored once more is no new vote. */
  readonly rounds: Set<string>;
}

/**
 * Invariant 5 over every certificate that any node ever stored: each holds, no register and position has two heads, and
 * each link names the one before. That makes a register's history one line; it is linearizable when a link appears only
 * after the one before it, descends from it, and no node's view of it ever goes back while its disk does not.
 *
 * Excepted: a link is forgotten when coordinators' disks went back in time, untold, so that no majority of those that
 * voted for it knows of it any more. Then another can be certified in its place, and nobody can tell; which of the two
 * counts, all nodes agree on in the end.
 */
export const confirmations: CheckerFactory = {
  name: 'confirmations',
  create: (world) => {
    const chains = new Map<DocId, Map<number, Link>>();
    const seen = new Map<string, { readonly kv: unknown; readonly position: number }>();
    const { majority, holds } = votersOf(world);
    const sequences = new Map<string, number>();
    const disks = new Map<string, unknown>();
    const forgotten = new Set<DocId>();
    return {
      committed: ({ machine, store, keys, docs }, violate) => {
        // Another disk is looked at before it can have votes of its own: the first of them may be as high as the last lost.
        const isOther = disks.get(machine.name) !== machine.kv;
        disks.set(machine.name, machine.kv);
        if (isOther || keys.some((key) => key.length === 1 && key[0] === voterKey[0])) {
          const sequence = sequenceOf(store);
          if (sequence < (sequences.get(machine.name) ?? 0)) forgetVotes(chains, machine.member.nodeId);
          sequences.set(machine.name, sequence);
        }
        for (const key of keys) {
          const row = key[0] === certificateRoom ? parsedRow<CertificateRow>(store, key) : undefined;
          if (row === undefined) continue;
          const doc = toBase32(key.subarray(1)) as DocId;
          for (const certificate of row.earlier === undefined ? [row.latest] : [row.earlier, row.latest]) {
            if (!holds(certificate)) violate(`${machine.name} stored a certificate of ${doc} that does not hold`);
            if (forgotten.has(doc)) continue;
            if (isForgotten(chainOf(chains, doc), certificate, majority)) forgotten.add(doc);
            else checkLink(chainOf(chains, doc), certificate, world, violate);
          }
          checkView(seen, { machine, doc, row }, violate);
        }
        for (const doc of docs) checkConfirmedHead({ machine, store, doc }, violate);
      },
      quiet: (violate) => {
        for (const doc of chains.keys()) {
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

function chainOf(chains: Map<DocId, Map<number, Link>>, doc: DocId): Map<number, Link> {
  const chain = chains.get(doc) ?? new Map<number, Link>();
  chains.set(doc, chain);
  return chain;
}

/** A coordinator votes with a lower number than before: it has lost what it promised and accepted. */
function forgetVotes(chains: ReadonlyMap<DocId, ReadonlyMap<number, Link>>, coordinator: NodeId): void {
  for (const chain of chains.values()) for (const { voters } of chain.values()) voters.delete(coordinator);
}

/** True for a certificate that contradicts a link which too few of its voters still know. */
function isForgotten(chain: ReadonlyMap<number, Link>, { statement }: Certificate, majority: number): boolean {
  const known = chain.get(statement.position);
  return known !== undefined && known.head !== statement.head && known.voters.size < majority;
}

function sequenceOf(store: KvReader): number {
  return parsedRow<{ readonly sequence: number }>(store, voterKey)?.sequence ?? 0;
}

function votersOf({ genesisText }: World): {
  readonly majority: number;
  readonly holds: (certificate: Certificate) => boolean;
} {
  const decoded = decodeGenesis(genesisText);
  if (!decoded.ok) throw new Error(decoded.error);
  const { genesis, id: cluster } = decoded.value;
  const coordinators = coordinatorsOf(foundingState(genesis, cluster));
  const known = new Set<string>();
  const holds = (certificate: Certificate): boolean => {
    // Who votes in a later epoch, the control log says; its own checks are elsewhere.
    if (certificate.statement.epoch !== 1) return true;
    const text = JSON.stringify(certificate);
    if (known.has(text)) return true;
    if (!verifyCertificate(certificate, { cluster, coordinators })) return false;
    known.add(text);
    return true;
  };
  return { majority: majorityOf(coordinators.length), holds };
}

function checkLink(
  chain: Map<number, Link>,
  { statement, signatures }: Certificate,
  world: World,
  violate: Violate,
): void {
  const voters = signatures.map(([coordinator]) => coordinator);
  const { register, position, previous, epoch, ballot } = statement;
  const head = statement.head as VersionId;
  const round = `${epoch} ${ballot.counter} ${ballot.proposer}`;
  const known = chain.get(position);
  if (known !== undefined) {
    if (known.head === head && known.previous === previous) {
      if (!known.rounds.has(round)) for (const voter of voters) known.voters.add(voter);
      known.rounds.add(round);
      return;
    }
    violate(`position ${position} of ${register} has two heads: ${known.head} and ${head}`);
    return;
  }
  chain.set(position, { position, head, previous, voters: new Set(voters), rounds: new Set([round]) });
  if (position === 1) return;
  const before = chain.get(position - 1);
  if (before === undefined) {
    violate(`position ${position} of ${register} was certified before position ${position - 1}`);
    return;
  }
  if (previous !== linkHash(world.cluster, register, before)) {
    violate(`position ${position} of ${register} does not name the value before it`);
  }
  const lookup = (id: VersionId) => world.library.get(id)?.version.record;
  if (lookup(head) !== undefined && !isReachable(before.head, head, lookup)) {
    violate(`${head}, at position ${position} of ${register}, does not descend from ${before.head}`);
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
