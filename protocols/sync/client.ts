import { rawHash } from '../../crdt/digest.ts';
import type { ConfirmedLink } from '../../crdt/document-digest.ts';
import type { Item, TreeReader } from '../../crdt/fingerprint-tree.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import { type Difference, type RangeAnswer, type RangeQuestion, Reconciliation } from '../../crdt/reconcile.ts';
import { SlotSet } from '../../crdt/slot-set.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Channel } from '../wire/channel.ts';
import { idOf } from '../wire/ids.ts';
import { packRange, unpackAnswer, unpackItems } from '../wire/item-sets.ts';
import { receiveResponse, unexpectedResponse } from '../wire/requests.ts';
import { differencesOf, type FeedPage, type FeedPosition, followFeed } from '../wire/set-following.ts';
import {
  alongBytesMax,
  decodeSyncResponse,
  encodeSyncMessage,
  haveHeadsMax,
  requestHeadsMax,
  type SyncRequest,
  type SyncResponse,
  versionsMax,
  wantsMax,
} from './messages.ts';

/** Messages of records being stored while the next one is read. */
const messagesAheadMax = 4;
/** Documents that are looked up in one turn of the event loop. */
const lookedAtPerTurnMax = 256;
/** Questions for records that the peer has beside the one it is answering. */
const questionsAheadMax = 1;
/**
 * Answers about one document that may bring nothing new, where it has more heads than can be named: what is held and was
 * not named comes once more, up to the 32,768 versions that the peer keeps in mind.
 */
const repeatedAnswersMax = 16;

/** What the asking side compares with, and where what it lacks goes. */
export interface SyncSink {
  /** The slots that are kept here. */
  kept(): SlotSet;
  /** The fingerprint trees of the slots' documents here, with every change that was here at the call. */
  trees(): Promise<(slot: number) => TreeReader>;
  /** The digest of a document's state here, or undefined when it is not held. */
  digestOf(doc: DocId): Uint8Array | undefined;
  /** Which slot a document belongs to. */
  slotOf(doc: DocId): number;
  headsOf(doc: DocId): readonly VersionId[];
  /** Where a document's confirmed chain ends here; undefined when there is none, and while that head is not here. */
  confirmedOf(doc: DocId): ConfirmedLink | undefined;
  /** Milliseconds since the epoch here, for display. */
  nowMs(): number;
  /** Lets others have the event loop in the midst of something long. */
  turn(): Promise<void>;
  /** The peer said what time it is: `peerMs`, asked and answered at these points of `nowMs`. */
  heardTime(sample: { readonly sentMs: number; readonly peerMs: number; readonly receivedMs: number }): void;
  /**
   * Takes in records, parents first, and small contents of theirs. Resolves with how many records were new; rejects when
   * the peer sent what can never be valid.
   */
  receive(texts: readonly Uint8Array[], contents: readonly Uint8Array[]): Promise<number>;
  /** Takes in certificates; rejects when the peer sent what can never hold. One of an epoch not known here is passed over. */
  receiveCertificates(texts: readonly string[]): Promise<void>;
}

type Offered = Extract<SyncRequest, { t: 'offer' }>['docs'][number];
type Want = Extract<SyncRequest, { t: 'records' }>['wants'][number];

/** A document, and how it is asked for. */
interface Wanted {
  readonly doc: DocId;
  readonly want: Want;
}

/** What following a peer's feed came to. */
export interface FollowedFeed {
  /** That was all: false for a feed of another life, or one that is too far ahead, and then ranges are to be compared. */
  readonly complete: boolean;
  /** Where the feed can be followed from next time, once everything up to then is here. */
  readonly position: FeedPosition;
  /** The slots that the peer keeps. */
  readonly kept: SlotSet;
  /** Those of them that it has whole. */
  readonly whole: SlotSet;
}

/** What one round came to. */
export interface SyncRound {
  /** Questions asked and answered, each a trip to the peer and back; requests for records are not among them. */
  comparisons: number;
  documentsDiffering: number;
  recordsReceived: number;
}

/**
 * The asking side of sync on one channel: follows the peer's feed, or compares ranges, and takes in the records it
 * lacks. Pull only: the peer asks for itself. Every method rejects with `MeshError`, `protocol_violation` when the
 * peer's answer is not one to the question.
 */
export class SyncClient {
  readonly #channel: Channel;
  readonly #sink: SyncSink;
  /** What is on its way to disk, in the order it came: the next is asked for meanwhile. */
  readonly #storing: Promise<number>[] = [];
  readonly round: SyncRound = { comparisons: 0, documentsDiffering: 0, recordsReceived: 0 };

  constructor(channel: Channel, sink: SyncSink) {
    this.#channel = channel;
    this.#sink = sink;
  }

  /**
   * Takes in the documents of the slots kept here that changed since a position of the peer's feed, and says what slots
   * the peer keeps; from no position, only says that and where the feed ends.
   */
  async pullFeed(from: FeedPosition | undefined): Promise<FollowedFeed> {
    const own = this.#sink.kept();
    const slots = own.isAll ? {} : { slots: own.encode() };
    let held: Pick<FollowedFeed, 'kept' | 'whole'> = { kept: SlotSet.all(own.count), whole: SlotSet.all(own.count) };
    const feed = async (name: string | null, after: number): Promise<FeedPage<Item>> => {
      const sentMs = this.#sink.nowMs();
      const response = await this.#compare({ t: 'feed', feed: name, after, ...slots });
      if (response.t !== 'feed') throw unexpectedResponse(response);
      const { time, entries } = response;
      if (time !== undefined) this.#sink.heardTime({ sentMs, peerMs: time, receivedMs: this.#sink.nowMs() });
      if (response.slots !== undefined) held = readHeld(response.slots, own.count);
      return { ...response, entries: entries === null ? null : unpackItems(entries) };
    };
    const followed = await this.#untilStored(() =>
      followFeed({ feed }, from, (items) => this.#pullChanged(items, own)),
    );
    return { ...followed, ...held };
  }

  /** Compares the documents of these slots, and takes in what the peer has of those that differ. */
  async pullSlots(slots: readonly number[]): Promise<void> {
    const reconciliation = new Reconciliation(await this.#sink.trees(), slots);
    await this.#untilStored(async () => {
      for await (const differences of this.#differences(reconciliation)) {
        await this.#pullChanged(differences.flatMap(({ key, theirs }) => (theirs ? [{ key, value: theirs }] : [])));
      }
    });
  }

  /**
   * Compares what is here of these slots, and offers the documents that the peer has in another state, or not at all.
   * Resolves with how many it was offered and how many of them it lacks.
   */
  async offerSlots(slots: readonly number[]): Promise<{ readonly offered: number; readonly lacking: number }> {
    let offered = 0;
    let lacking = 0;
    const reconciliation = new Reconciliation(await this.#sink.trees(), slots, { onlyOurs: true });
    for await (const differences of this.#differences(reconciliation)) {
      const docs = differences.flatMap(({ key, ours }) => (ours === undefined ? [] : [idOf<DocId>(key)]));
      offered += docs.length;
      lacking += (await this.offer(docs)).length;
    }
    return { offered, lacking };
  }

  /** Tells the peer of documents as they are here, and says which of them it lacks; it asks for them itself. */
  async offer(docs: readonly DocId[]): Promise<DocId[]> {
    const lacking = new Set<DocId>();
    const offers = docs.flatMap((doc) => this.#offersOf(doc));
    for (const batch of batchesOf(offers, ({ heads }) => heads.length)) {
      const response = await this.#ask({ t: 'offer', docs: [...batch] });
      if (response.t !== 'offered') throw unexpectedResponse(response);
      for (const { doc } of at(batch, response.lacks)) lacking.add(idOf<DocId>(doc));
    }
    return [...lacking];
  }

  /** One entry of an offer, or several for a document with more heads than one may name. */
  #offersOf(doc: DocId): Offered[] {
    const { doc: raw, confirmed } = this.#wantOf(doc);
    const heads = this.#sink.headsOf(doc).map((id) => rawHash(id));
    const offers: Offered[] = [];
    for (let start = 0; start === 0 || start < heads.length; start += haveHeadsMax) {
      const named = heads.slice(start, start + haveHeadsMax);
      offers.push({ doc: raw, heads: named, ...(confirmed === undefined ? {} : { confirmed }) });
    }
    return offers;
  }

  /** Takes in what the peer has of these documents. Resolves with those of which it may lack something itself. */
  pullDocuments(docs: readonly DocId[]): Promise<DocId[]> {
    return this.#untilStored(() => this.#pullRecords(docs));
  }

  #differences(reconciliation: Reconciliation): AsyncGenerator<readonly Difference[]> {
    const ranges = async (questions: readonly RangeQuestion[]): Promise<RangeAnswer[]> => {
      const response = await this.#compare({ t: 'ranges', ranges: questions.map(packRange) });
      if (response.t !== 'ranges') throw unexpectedResponse(response);
      return response.answers.map(unpackAnswer);
    };
    return differencesOf(reconciliation, { ranges });
  }

  /** Takes in versions by id, such as those whose stored text is damaged. */
  fetchVersions(versions: readonly VersionId[]): Promise<void> {
    return this.#untilStored(async () => {
      for (let start = 0; start < versions.length; start += versionsMax) {
        const ids = versions.slice(start, start + versionsMax).map((id) => rawHash(id));
        await this.#channel.send(encodeSyncMessage({ t: 'fetch', versions: ids }));
        await this.#receiveRecords();
      }
    });
  }

  /** Asks for the documents whose state at the peer is not ours; what came last may still be on its way to disk. */
  async #pullChanged(items: readonly Item[], kept?: SlotSet): Promise<void> {
    const docs: DocId[] = [];
    const absent = new Set<DocId>();
    for (const [at, { key, value }] of items.entries()) {
      if (at > 0 && at % lookedAtPerTurnMax === 0) await this.#sink.turn();
      const doc = idOf<DocId>(key);
      if (kept?.has(this.#sink.slotOf(doc)) === false) continue;
      const ours = this.#sink.digestOf(doc);
      if (ours === undefined) absent.add(doc);
      else if (Buffer.compare(ours, value) === 0) continue;
      docs.push(doc);
    }
    this.round.documentsDiffering += docs.length;
    await this.#pullRecords(docs, absent);
  }

  /** `absent`: those of them that were just looked for here in vain, and are not looked for again. */
  async #pullRecords(docs: readonly DocId[], absent: ReadonlySet<DocId> = new Set()): Promise<DocId[]> {
    const partial: DocId[] = [];
    const crowded = new Set<DocId>();
    const asked: (readonly Wanted[])[] = [];
    const answered = async (): Promise<void> => {
      const batch = asked.shift() ?? [];
      const answer = await this.#receiveRecords();
      // An answer is bounded: the question is asked again until it is complete or brings nothing new. Others may have brought
      // meanwhile what it was about, and then another one brings what is behind that.
      const goesOn = answer.more && (answer.received > 0 || batch.some((wanted) => this.#hasCome(wanted)));
      if (goesOn) await ask(batch.map(({ doc }) => this.#wanted(doc)));
      else partial.push(...at(batch, answer.partial).map(({ doc }) => doc));
    };
    const ask = async (all: readonly Wanted[]): Promise<void> => {
      const batch: Wanted[] = [];
      for (const wanted of all) {
        if (isCrowded(wanted.want)) crowded.add(wanted.doc);
        else batch.push(wanted);
      }
      if (batch.length === 0) return;
      await this.#askRecords(batch.map(({ want }) => want));
      asked.push(batch);
    };
    for (const batch of batchesOf(this.#wantedOf(docs, absent), ({ want }) => want.have.length)) {
      await ask(batch);
      // The peer has the next question when it is done with this one.
      if (asked.length > questionsAheadMax) await answered();
    }
    while (asked.length > 0) await answered();
    for (const doc of crowded) partial.push(...(await this.#pullCrowded(doc)));
    return partial;
  }

  /** Looks at what is here of each when its turn comes. */
  *#wantedOf(docs: readonly DocId[], absent: ReadonlySet<DocId>): Generator<Wanted> {
    for (const doc of docs) yield absent.has(doc) ? { doc, want: { doc: rawHash(doc), have: [] } } : this.#wanted(doc);
  }

  /** True of a document that was not here when it was asked for, and is now. */
  #hasCome({ doc, want }: Wanted): boolean {
    return want.have.length === 0 && this.#sink.headsOf(doc).length > 0;
  }

  #wanted(doc: DocId): Wanted {
    return { doc, want: this.#wantOf(doc) };
  }

  /** Asked for alone: the peer then keeps what it has not sent of it yet, and sends none of it twice. */
  async #pullCrowded(doc: DocId): Promise<DocId[]> {
    for (let repeated = 0; ; ) {
      await this.#askRecords([this.#wantOf(doc)]);
      const { more, received, partial } = await this.#receiveRecords();
      if (received === 0) repeated += 1;
      if (!more || repeated > repeatedAnswersMax) return at([doc], partial);
    }
  }

  #askRecords(wants: Want[]): Promise<void> {
    return this.#channel.send(encodeSyncMessage({ t: 'records', wants, along: alongBytesMax }));
  }

  #wantOf(doc: DocId): Want {
    const heads = this.#sink.headsOf(doc).slice(0, haveHeadsMax);
    const link = this.#sink.confirmedOf(doc);
    return {
      doc: rawHash(doc),
      have: heads.map((id) => rawHash(id)),
      ...(link === undefined ? {} : { confirmed: { position: link.position, head: rawHash(link.head) } }),
    };
  }

  /** Resolves when the peer has sent all; what came last may still be on its way to disk, unless there is more to ask for. */
  async #receiveRecords(): Promise<{ more: boolean; received: number; partial: readonly number[] }> {
    const before = this.round.recordsReceived;
    let response = await this.#receive();
    while (response.t === 'records' || response.t === 'certificates') {
      this.#store(
        response.t === 'certificates'
          ? this.#sink.receiveCertificates(response.texts).then(() => 0)
          : this.#sink.receive(response.texts, response.contents ?? []),
      );
      if (this.#storing.length > messagesAheadMax) await this.#stored();
      response = await this.#receive();
    }
    if (response.t !== 'done') throw unexpectedResponse(response);
    const { more, partial = [] } = response;
    if (more) await this.#allStored();
    return { more, partial, received: this.round.recordsReceived - before };
  }

  #store(stored: Promise<number>): void {
    // Whoever waits for it is told; until then a failure must not count as nobody's.
    stored.catch(() => undefined);
    this.#storing.push(stored);
  }

  async #stored(): Promise<void> {
    this.round.recordsReceived += (await this.#storing.shift()) ?? 0;
  }

  async #allStored(): Promise<void> {
    while (this.#storing.length > 0) await this.#stored();
  }

  /** Runs what takes records in to its end: what was received is on disk then, or was refused. */
  async #untilStored<T>(run: () => Promise<T>): Promise<T> {
    try {
      const result = await run();
      await this.#allStored();
      return result;
    } finally {
      await Promise.allSettled(this.#storing.splice(0));
    }
  }

  #compare(request: SyncRequest): Promise<SyncResponse> {
    this.round.comparisons += 1;
    return this.#ask(request);
  }

  async #ask(request: SyncRequest): Promise<SyncResponse> {
    await this.#channel.send(encodeSyncMessage(request));
    return this.#receive();
  }

  #receive(): Promise<SyncResponse> {
    return receiveResponse(this.#channel, { protocol: 'sync', decode: decodeSyncResponse });
  }
}

function readHeld(
  { kept, whole }: { readonly kept: Uint8Array; readonly whole: Uint8Array },
  count: number,
): Pick<FollowedFeed, 'kept' | 'whole'> {
  const held = { kept: SlotSet.decode(kept, count), whole: SlotSet.decode(whole, count) };
  if (held.kept === undefined || held.whole === undefined) throw violation('slots that there are not');
  return { kept: held.kept, whole: held.whole.and(held.kept) };
}

/** As many at a time as a request has room for, by the heads that each names. */
function* batchesOf<Item>(items: Iterable<Item>, headsOf: (item: Item) => number): Generator<readonly Item[]> {
  let batch: Item[] = [];
  let heads = 0;
  for (const item of items) {
    const count = headsOf(item);
    if (batch.length === wantsMax || heads + count > requestHeadsMax) {
      yield batch;
      batch = [];
      heads = 0;
    }
    batch.push(item);
    heads += count;
  }
  if (batch.length > 0) yield batch;
}

/** What stands at these places of a request. */
function at<Item>(items: readonly Item[], places: readonly number[]): Item[] {
  return places.map((place) => {
    const item = items[place];
    if (item === undefined) throw violation('a place in the request that it does not have');
    return item;
  });
}

/** True of a document that has, here, as many heads as can be named, or more. */
function isCrowded({ have }: Want): boolean {
  return have.length === haveHeadsMax;
}

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', message);
}
