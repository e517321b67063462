import { contextHas } from '../../../crdt/causality.ts';
import type { RegisterValue } from '../../../crdt/certificate.ts';
import type { DocId, PeerId, VersionId } from '../../../crdt/ids.ts';
import type { Verdict } from '../../../crdt/quorum/proposer.ts';
import type { Version } from '../../../crdt/version.ts';
import { bytesOf, enclosedBytesMax } from '../../../protocols/quorum/messages.ts';
import type { Enclosed, EnclosedHead, RegisterKind, TakenIn } from '../../../protocols/quorum/register-kind.ts';
import type { Kv, KvReader } from '../../ports/kv.ts';
import type { ContentPlane } from '../content/content-plane.ts';
import type { ObjectStore } from '../object-store.ts';
import type { PropagationMonitor } from '../propagation.ts';
import type { RecordIntake } from '../record-intake.ts';

/** Heads of which it is remembered what was enclosed with questions about them, 4 KiB each at most; the oldest are forgotten first. */
const enclosedKeptMax = 1_024;

/** The largest content that is enclosed with its record: asking for it would take more bytes than it has. */
const contentBytesMax = 1_024;

/** A head on its way to disk. */
interface Arriving {
  /** Its object. */
  readonly register: string;
  readonly version: Version;
  /** Its record, and what came along. */
  readonly enclosed: Enclosed;
  readonly flushed: Promise<void>;
}

/** What the registers of objects need of the node around them. */
export interface ObjectKindDependencies {
  readonly kv: Kv;
  readonly objects: ObjectStore;
  readonly localPeer: PeerId;
  readonly intake: Pick<RecordIntake, 'receive'>;
  readonly content: Pick<ContentPlane, 'small'>;
  readonly propagation: Pick<PropagationMonitor, 'arrived'>;
  /** Takes in what a peer has of a document; what came is on disk when this resolves. */
  readonly pull: (peer: PeerId, doc: DocId, signal: AbortSignal) => Promise<void>;
}

/**
 * An object as a register: its values are heads, each a descendant of the one before. A coordinator votes for a head
 * only when it durably holds that version, and so all of its ancestors: what is confirmed is on a majority of them.
 */
export class ObjectKind implements RegisterKind {
  readonly #dependencies: ObjectKindDependencies;
  /** Heads that were taken in and are not on disk yet. */
  readonly #arriving = new Map<string, Arriving>();
  /** What was enclosed for others lately, by its head. */
  readonly #enclosed = new Map<string, Enclosed>();

  constructor(dependencies: ObjectKindDependencies) {
    this.#dependencies = dependencies;
  }

  check(register: string, current: RegisterValue | null, candidate: string): Verdict {
    if (current === null) return 'accept';
    if (candidate === current.head) return 'held';
    const { kv, objects } = this.#dependencies;
    const arriving = this.#arriving.get(candidate);
    // Only that it follows can be told of a version that is not to be read yet: any other is waited for, or was.
    if (arriving?.register === register && this.#follows(arriving, current.head as VersionId)) return 'accept';
    const isAncestor = objects.ancestry(kv);
    if (isAncestor(candidate as VersionId, current.head as VersionId)) return 'held';
    if (isAncestor(current.head as VersionId, candidate as VersionId)) return 'accept';
    // The way from one to the other may lead through a record that is rotten here and is being fetched.
    if (objects.damaged().length > 0) return { code: 'damaged', message: 'a record of the object is damaged here' };
    return {
      code: 'not_a_descendant',
      message: `version ${candidate} does not descend from the confirmed head ${current.head}: merge the two`,
    };
  }

  async hold(register: string, value: RegisterValue, from: PeerId, signal: AbortSignal): Promise<boolean> {
    const { localPeer, pull } = this.#dependencies;
    if (this.#holds(register, value.head)) return true;
    const arriving = this.#arriving.get(value.head);
    if (arriving !== undefined) {
      // What went wrong is told to who took it in.
      await arriving.flushed.catch(() => undefined);
      if (this.#holds(register, value.head)) return true;
    }
    if (from === localPeer) return false;
    await pull(from, register as DocId, signal);
    return this.#holds(register, value.head);
  }

  /** The record, and its content when that is small; nothing where that is too much. */
  enclose(head: string): Enclosed | undefined {
    const enclosed = this.#arriving.get(head)?.enclosed ?? this.#read(head);
    if (enclosed === undefined || bytesOf(enclosed) > enclosedBytesMax) return undefined;
    this.#enclosed.set(head, enclosed);
    if (this.#enclosed.size > enclosedKeptMax) this.#enclosed.delete(this.#enclosed.keys().next().value as string);
    return enclosed;
  }

  /** Gives what was enclosed for some of the coordinators, once: others have to be told of it. */
  takeEnclosed(head: string): Enclosed | undefined {
    const enclosed = this.#enclosed.get(head);
    this.#enclosed.delete(head);
    return enclosed;
  }

  #read(head: string): Enclosed | undefined {
    const { kv, objects, content } = this.#dependencies;
    const version = objects.sound(kv, head as VersionId);
    if (version === undefined) return undefined;
    const told = version.record.content;
    const small = told === null ? undefined : content.small(told, contentBytesMax);
    const record = Buffer.from(version.text);
    return small === undefined ? [record] : [record, small];
  }

  /**
   * A version was written here, and is in the store but not on disk yet: it can be proposed like one that came along with a
   * request, until `flushed` resolves.
   *
   * @param small its content, when that is small and this node has just taken it in
   */
  wrote(register: DocId, version: Version, small: Uint8Array | undefined, flushed: Promise<void>): void {
    const record = Buffer.from(version.text);
    const told = version.record.content;
    const along = small ?? (told === null ? undefined : this.#dependencies.content.small(told, contentBytesMax));
    const enclosed = along === undefined || along.length > contentBytesMax ? [record] : [record, along];
    this.#arrives(version.id, { register, version, enclosed, flushed });
  }

  async takeIn(heads: readonly EnclosedHead[], from: PeerId): Promise<TakenIn> {
    const { kv, objects, localPeer, intake, propagation } = this.#dependencies;
    // What this node asks itself to vote on it has, or has lost: a write that its disk did not take came to nothing.
    if (from === localPeer) return { heads: new Set(), flushed: Promise.resolve() };
    const records: Uint8Array[] = [];
    const contents: Uint8Array[] = [];
    for (const { head, enclosed } of heads) {
      const [record, ...along] = enclosed;
      if (record === undefined || this.#arriving.has(head) || objects.holds(kv, head as VersionId)) continue;
      records.push(record);
      contents.push(...along);
    }
    if (records.length === 0) return { heads: new Set(), flushed: Promise.resolve() };
    const placed = Promise.withResolvers<ReadonlyMap<string, Version>>();
    const received = intake.receive(records, from, contents, { isUrgent: true, placed: placed.resolve });
    const flushed = received.then(({ added }) => propagation.arrived(added, 'quorum'));
    // Where no record was good enough for the store, nothing is placed.
    const none = flushed.then(() => new Map<string, Version>());
    const versions = await Promise.race([placed.promise, none]);
    for (const { head, enclosed } of heads) {
      const version = versions.get(head);
      if (version === undefined) continue;
      const { ns, key } = version.record;
      // What is said to be its record may be another's.
      const sound = [Buffer.from(version.text), ...enclosed.slice(1)];
      this.#arrives(head, { register: objects.documentId(ns, key), version, enclosed: sound, flushed });
    }
    return { heads: new Set(versions.keys()), flushed };
  }

  isArriving(register: string, head: string): boolean {
    return this.#arriving.get(head)?.register === register;
  }

  /** True when an arriving version is known to descend from one that is stored. */
  #follows({ register, version }: Arriving, head: VersionId): boolean {
    const { kv, objects } = this.#dependencies;
    const elder = objects.sound(kv, head);
    if (elder === undefined || !contextHas(version.context, elder.record.dot)) return false;
    return objects.hasUniqueDots(kv, register as DocId, [version]);
  }

  #arrives(head: string, arriving: Arriving): void {
    this.#arriving.set(head, arriving);
    const end = (): void => {
      if (this.#arriving.get(head) === arriving) this.#arriving.delete(head);
    };
    arriving.flushed.then(end, end);
  }

  #holds(register: string, head: string): boolean {
    const { kv, objects } = this.#dependencies;
    return holdsHead(kv, objects, { register, head });
  }
}

/** A version is stored only with all its ancestors, and a vote is flushed after it or with it. */
export function holdsHead(
  reader: KvReader,
  objects: Pick<ObjectStore, 'sound' | 'documentId'>,
  { register, head }: { readonly register: string; readonly head: string },
): boolean {
  const version = objects.sound(reader, head as VersionId);
  return version !== undefined && objects.documentId(version.record.ns, version.record.key) === register;
}
