import { isReachable } from '../../crdt/graph-difference.ts';
import type { ClusterId, PeerId, VersionId } from '../../crdt/ids.ts';
import {
  type AncestryLookup,
  checkAgainstParents,
  decodeVersion,
  signedDigestOf,
  type Version,
  type VersionFault,
} from '../../crdt/version.ts';
import type { ControlLog } from '../control/control-log.ts';
import { judgeWriter } from '../control/writer-rights.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { Verifier } from '../ports/verifier.ts';
import type { ContentPlane } from './content/content-plane.ts';
import { type HashedBytes, hashed } from './content/small-content.ts';
import type { Incarnation } from './incarnation.ts';
import type { ObjectStore } from './object-store.ts';
import { ParkedRecords } from './parked-records.ts';
import type { JournalEntry, VersionJournal } from './version-journal.ts';
import { WaitingRecords } from './waiting-records.ts';

/** Records decoded, or written in one transaction, in one turn of the event loop: this bounds how long it is held. */
const recordsPerTurnMax = 16;
/** Transactions under way for one batch: the next are written while the last are being flushed. */
const turnsAheadMax = 4;

/** A record in the waiting room, and the parents it lacks. */
export interface MissingParents {
  readonly version: Version;
  readonly parents: readonly VersionId[];
}

/** A record before its signature is verified: a version, a fault, or neither, while it waits for the log. */
interface Decoded {
  readonly version?: Version;
  /**
   * The key it must be signed with. None when the version is held: the id is a hash of the whole text, and what is held was
   * verified.
   */
  readonly publicKey?: Uint8Array;
  readonly fault?: VersionFault;
}

/** Records that passed step one, and what is wrong with the others. */
interface Checked {
  readonly versions: Version[];
  readonly faults: VersionFault[];
}

/** How records are taken in. */
interface ReceiveOptions {
  /** They do not wait for those that came before them. */
  readonly isUrgent?: boolean;
  readonly placed?: ((versions: ReadonlyMap<VersionId, Version>) => void) | undefined;
}

/** Writes what belongs to records into their transaction, before them. What it gives is called once that is on disk. */
type Beside = (transaction: KvTransaction) => () => void;

interface StoreOptions extends Pick<ReceiveOptions, 'placed'> {
  readonly from: PeerId;
  readonly along: Along;
  readonly beside?: Beside | undefined;
  readonly asked?: () => void;
}

/** What became of a batch of received records. */
export interface IntakeReport {
  /** Those that were new, with what had waited for them. */
  readonly added: readonly Version[];
  /** Records that wait for their ancestors, whose documents should be fetched. */
  readonly incomplete: readonly MissingParents[];
  /** Records that can never be valid: they count against the peer that sent them. */
  readonly faults: readonly VersionFault[];
}

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly verifier: Verifier;
  readonly objects: ObjectStore;
  readonly journal: VersionJournal;
  readonly control: Pick<ControlLog, 'positionAt' | 'followLater'>;
  readonly incarnation: Incarnation;
  readonly content: Pick<ContentPlane, 'want' | 'keepSmall' | 'kick'>;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Where records from peers come in. Each is checked in two steps: by itself (shape, size, canonical form,
 * signature), and against its parents once they are all here. Until then it waits in a bounded room.
 */
export class RecordIntake {
  readonly #dependencies: Dependencies;
  readonly #cluster: ClusterId;
  readonly #parked = new ParkedRecords();
  readonly #waiting = new WaitingRecords();
  /** Resolves when the records that came last have all been given to the store, so that they get there in the order they came. */
  #asked: Promise<void> = Promise.resolve();
  readonly #refused: Counter;

  constructor(dependencies: Dependencies, cluster: ClusterId) {
    this.#dependencies = dependencies;
    this.#cluster = cluster;
    this.#refused = dependencies.metrics.counter({
      name: 'anabranch_records_refused_total',
      help: 'Received records that can never be valid.',
      labels: ['fault'],
    });
  }

  /**
   * Step one, by the records alone. One that stands on a log position this node does not know is no fault: it waits until
   * the log is here.
   */
  check(texts: readonly (Uint8Array | string)[], from: PeerId): Promise<Checked> {
    return this.#verify(texts.map((text) => this.#decode(text, from)));
  }

  /** The same for many records, a few in each turn of the event loop; their signatures are verified together. */
  async #checkInTurns(texts: readonly (Uint8Array | string)[], from: PeerId): Promise<Checked> {
    const decoded: Decoded[] = [];
    for (let start = 0; start < texts.length; start += recordsPerTurnMax) {
      if (start > 0) await this.#dependencies.clock.sleep(0);
      for (const text of texts.slice(start, start + recordsPerTurnMax)) decoded.push(this.#decode(text, from));
    }
    return this.#verify(decoded);
  }

  async #verify(decoded: readonly Decoded[]): Promise<Checked> {
    const faults = decoded.flatMap(({ fault }) => fault ?? []);
    const signed = decoded.flatMap(({ version, publicKey }) =>
      version === undefined || publicKey === undefined ? [] : [signedDigestOf(version, this.#cluster, publicKey)],
    );
    const holds = await this.#dependencies.verifier.verify(signed);
    const versions: Version[] = [];
    let next = 0;
    for (const { version, publicKey } of decoded) {
      if (version === undefined) continue;
      if (publicKey === undefined || holds[next++] === true) versions.push(version);
      else faults.push(badSignature(version));
    }
    return { versions, faults };
  }

  /** What of step one needs no signature. */
  #decode(text: Uint8Array | string, from: PeerId): Decoded {
    const decoded = decodeVersion(text);
    if (!decoded.ok) return { fault: decoded.error };
    const version = decoded.value;
    const { control } = this.#dependencies;
    const verdict = judgeWriter((seq) => control.positionAt(seq), version.record);
    switch (verdict.kind) {
      case 'may':
        return this.#isHeld(version) ? { version } : { version, publicKey: verdict.publicKey };
      case 'fault':
        return { fault: verdict.fault };
      case 'unknown':
        this.#waiting.add({ id: version.id, text, from, seq: version.record.log.seq });
        control.followLater(from);
        return {};
    }
  }

  #isHeld({ id }: Version): boolean {
    const { kv, objects } = this.#dependencies;
    return objects.holds(kv, id);
  }

  /** The control log has come to an entry: what has waited for it is taken in, as if it came now. */
  logReached(seq: number): void {
    for (const [from, records] of this.#waiting.takeUpTo(seq)) {
      this.receive(
        records.map(({ text }) => text),
        from,
      ).catch((error: unknown) => this.#dependencies.log.warn('records:not-taken-in', { from, error }));
    }
  }

  /**
   * Takes in records as they came from a peer, some at a time. Resolves when what was accepted is on disk; rejects
   * as the store does, and then some of them may be there. `placed` is told before that, once the store has run the
   * transactions of all of them, which of them are in it now: what is asked of it from then on comes after them.
   */
  async receive(
    texts: readonly (Uint8Array | string)[],
    from: PeerId,
    contents: readonly Uint8Array[] = [],
    { isUrgent = false, placed }: ReceiveOptions = {},
  ): Promise<IntakeReport> {
    const before = isUrgent ? undefined : this.#asked;
    const asked = Promise.withResolvers<void>();
    if (!isUrgent) this.#asked = asked.promise;
    try {
      const { versions, faults } = await this.#checkInTurns(texts, from);
      await before;
      this.#reportFaults(faults, from);
      const report = await this.#store(versions, { from, along: byHash(contents), asked: asked.resolve, placed });
      return { ...report, faults: [...faults, ...report.faults] };
    } finally {
      asked.resolve();
    }
  }

  /** Puts versions that were fetched by id back over damaged rows. The rest of what came is taken in as usual. */
  async repair(texts: readonly Uint8Array[], from: PeerId): Promise<IntakeReport> {
    const { kv, objects, log } = this.#dependencies;
    const damaged = new Set(objects.damaged());
    const { versions, faults } = await this.check(texts, from);
    this.#reportFaults(faults, from);
    const restored = versions.filter((version) => damaged.has(version.id));
    if (restored.length > 0) {
      await kv.transact((transaction) => {
        for (const version of restored) objects.restore(transaction, version);
      });
      objects.restored(restored);
    }
    for (const version of restored) log.info('record:restored', { version: version.id, from });
    const report = await this.#store(versions, { from, along: byHash([]) });
    return { ...report, faults: [...faults, ...report.faults] };
  }

  /**
   * Takes in records that passed step one, and small contents that came with them.
   *
   * @param beside not called when there are no records
   */
  receiveChecked(
    versions: readonly Version[],
    from: PeerId,
    contents: readonly Uint8Array[] = [],
    beside?: Beside,
  ): Promise<IntakeReport> {
    return this.#store(versions, { from, along: byHash(contents), beside });
  }

  /**
   * Writes a few of them in each turn of the event loop, the next ones while the last are being flushed. `asked` is called
   * when the turn has come in which others may ask for theirs.
   */
  async #store(
    versions: readonly Version[],
    { from, along, beside, asked, placed }: StoreOptions,
  ): Promise<IntakeReport> {
    const { clock } = this.#dependencies;
    const ordered = [...versions].sort((left, right) => left.record.generation - right.record.generation);
    const underWay: Promise<Placed>[] = [];
    const done: Placed[] = [];
    const inStore = placed && new InStore(this.#dependencies.objects, ordered.length, placed);
    try {
      for (let start = 0; start < ordered.length; start += recordsPerTurnMax) {
        if (start > 0) await clock.sleep(0);
        if (underWay.length >= turnsAheadMax) done.push(await (underWay.shift() as Promise<Placed>));
        const batch = ordered.slice(start, start + recordsPerTurnMax);
        const committed = this.#commit(batch, { along, inStore, beside: start === 0 ? beside : undefined });
        committed.catch(() => undefined);
        underWay.push(committed);
      }
    } finally {
      if (asked !== undefined) clock.setTimer(0, asked);
      await Promise.allSettled(underWay);
    }
    done.push(...(await Promise.all(underWay)));
    const faults = done.flatMap((each) => each.faults);
    this.#reportFaults(faults, from);
    return {
      added: done.flatMap(({ entry }) => entry.appended.map(({ version }) => version)),
      incomplete: done.flatMap((each) => each.incomplete),
      faults,
    };
  }

  async #commit(
    batch: readonly Version[],
    { along, inStore, beside }: Pick<StoreOptions, 'along' | 'beside'> & { readonly inStore: InStore | undefined },
  ): Promise<Placed> {
    const { kv, journal, content } = this.#dependencies;
    let tell: (() => void) | undefined;
    let isPulling = false;
    const committed = await kv.transact((transaction) => {
      tell = beside?.(transaction);
      const placing = this.#place(transaction, batch);
      const entry = journal.append(transaction, placing.versions);
      for (const { version, dotReused } of entry.appended) {
        if (this.#takeContent(transaction, version, along)) isPulling = true;
        this.#noticeOwnDot(transaction, version, dotReused);
      }
      // Parked before the next transaction, which may bring what is waited for.
      for (const missing of placing.incomplete) this.#park(missing);
      inStore?.ran(transaction, batch);
      return { ...placing, entry };
    });
    if (committed.entry.appended.length > 0) journal.publish(committed.entry);
    if (isPulling) content.kick();
    tell?.();
    return committed;
  }

  #park({ version, parents }: MissingParents): void {
    const { ns, key } = version.record;
    this.#parked.add({ version, doc: this.#dependencies.objects.documentId(ns, key) }, parents);
  }

  /** Step two: finds which of the batch, and of what waited for it, can be added now, in what order. */
  #place(
    reader: KvReader,
    batch: readonly Version[],
  ): { versions: Version[]; faults: VersionFault[]; incomplete: MissingParents[] } {
    const { objects } = this.#dependencies;
    const placed = new Map<VersionId, Version>();
    const faults: VersionFault[] = [];
    const incomplete: MissingParents[] = [];
    const queue = [...batch];
    for (let version = queue.shift(); version !== undefined; version = queue.shift()) {
      if (placed.has(version.id) || objects.holds(reader, version.id)) continue;
      const parents = version.record.parents.map((id) => placed.get(id) ?? objects.sound(reader, id));
      const missing = version.record.parents.filter((_, index) => parents[index] === undefined);
      if (missing.length > 0) {
        incomplete.push({ version, parents: missing });
        continue;
      }
      const fault = checkAgainstParents(
        version,
        parents.filter((parent) => parent !== undefined),
        this.#ancestry(reader, placed, version),
      );
      if (fault !== undefined) {
        faults.push(fault);
        continue;
      }
      placed.set(version.id, version);
      queue.push(...this.#parked.takeWaitingFor(version.id).map((parked) => parked.version));
      queue.push(...takeAwaiting(incomplete, version.id));
    }
    return { versions: [...placed.values()], faults, incomplete };
  }

  /**
   * Tells whether what a context names as an ancestor is one, of versions that are held or placed. While no dot was issued
   * twice it is, since contexts are checked; only else the graph is walked, however long the history is.
   */
  #ancestry(reader: KvReader, placed: ReadonlyMap<VersionId, Version>, { record }: Version): AncestryLookup {
    const { objects } = this.#dependencies;
    const { ns, key } = record;
    let isUnique: boolean | undefined;
    return (ancestor, descendant) => {
      isUnique ??= objects.hasUniqueDots(
        reader,
        objects.documentId(ns, key),
        [...placed.values()].filter((other) => other.record.ns === ns && other.record.key === key),
      );
      return (
        isUnique || isReachable(ancestor, descendant, (id) => (placed.get(id) ?? objects.sound(reader, id))?.record)
      );
    };
  }

  /** True when the content is to be pulled. */
  #takeContent(transaction: KvTransaction, { id, record }: Version, along: Along): boolean {
    const { ns, key, node, content: told } = record;
    if (told === null) return false;
    const { content } = this.#dependencies;
    const subject = { ns, key, version: id, origin: node };
    const small = along.get(told.b3);
    if (small !== undefined && content.keepSmall(transaction, told, subject, small)) return false;
    return content.want(transaction, told, subject);
  }

  /** A dot of our own that we never issued: this directory is a copy, or went back in time. */
  #noticeOwnDot(transaction: KvTransaction, version: Version, dotReused: boolean): void {
    const { incarnation, log } = this.#dependencies;
    const { dot } = version.record;
    if (dot.actor !== incarnation.actor) return;
    const left = incarnation.actor;
    incarnation.redraw(transaction);
    log.error('incarnation:abandoned', { left, took: incarnation.actor, version: version.id, dotReused });
  }

  #reportFaults(faults: readonly VersionFault[], from: PeerId): void {
    for (const fault of faults) {
      this.#refused.add(1, { fault: fault.code });
      this.#dependencies.log.warn('record:refused', { from, code: fault.code, reason: fault.message });
    }
  }
}

/** Gathers which records are in the store, and tells once the transactions of all have run. */
class InStore {
  readonly #objects: Pick<ObjectStore, 'holds'>;
  readonly #tell: (versions: ReadonlyMap<VersionId, Version>) => void;
  readonly #versions = new Map<VersionId, Version>();
  #left: number;

  constructor(
    objects: Pick<ObjectStore, 'holds'>,
    records: number,
    tell: (versions: ReadonlyMap<VersionId, Version>) => void,
  ) {
    this.#objects = objects;
    this.#left = records;
    this.#tell = tell;
  }

  ran(reader: KvReader, batch: readonly Version[]): void {
    for (const version of batch) {
      if (this.#objects.holds(reader, version.id)) this.#versions.set(version.id, version);
    }
    this.#left -= batch.length;
    if (this.#left === 0) this.#tell(this.#versions);
  }
}

/** Takes out those that lack a version: what was parked for a record may come ahead of others that wait for it in turn. */
function takeAwaiting(incomplete: MissingParents[], id: VersionId): Version[] {
  const awaiting = incomplete.filter(({ parents }) => parents.includes(id));
  for (const each of awaiting) incomplete.splice(incomplete.indexOf(each), 1);
  return awaiting.map(({ version }) => version);
}

/** What came of the records of one transaction. */
interface Placed {
  readonly entry: JournalEntry;
  readonly faults: readonly VersionFault[];
  readonly incomplete: readonly MissingParents[];
}

/** Contents that came with their records, by their hashes. */
type Along = ReadonlyMap<string, HashedBytes>;

function byHash(contents: readonly Uint8Array[]): Along {
  return new Map(contents.map((bytes) => hashed(bytes)).map((each) => [each.b3, each]));
}

function badSignature({ id }: Version): VersionFault {
  return { code: 'bad_signature', message: `the signature of version ${id} does not hold` };
}
