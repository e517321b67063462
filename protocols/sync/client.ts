import { rawHash } from '../../crdt/digest.ts';
import type { Item, TreeReader } from '../../crdt/fingerprint-tree.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import { Reconciliation } from '../../crdt/reconcile.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Channel } from '../wire/channel.ts';
import { receiveResponse, unexpectedResponse } from '../wire/requests.ts';
import {
  alongBytesMax,
  decodeSyncResponse,
  encodeSyncMessage,
  haveHeadsMax,
  idOf,
  packRange,
  requestHeadsMax,
  type SyncRequest,
  type SyncResponse,
  unpackAnswer,
  unpackItems,
  versionsMax,
  wantsMax,
} from './messages.ts';

/** Feed messages of one round; past it ranges are compared instead, and cost less. */
const feedPagesMax = 192;

/** Messages of records being stored while the next one is read. */
const messagesAheadMax = 2;

/** What the asking side compares with, and where what it lacks goes. */
export interface SyncSink {
  /** The fingerprint tree of a slot's documents here. */
  slotTree(slot: number): TreeReader;
  /** The digest of a document's state here, or undefined when it is not held. */
  digestOf(doc: DocId): Uint8Array | undefined;
  /** Which slot a document belongs to. */
  slotOf(doc: DocId): number;
  headsOf(doc: DocId): readonly VersionId[];
  /** The position of the newest certificate of a document here; 0 when there is none. */
  positionOf(doc: DocId): number;
  /** Milliseconds since the epoch here, for display. */
  nowMs(): number;
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

/** How far a peer's feed was followed. */
export interface FeedPosition {
  readonly feed: string;
  readonly change: number;
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
  readonly round: SyncRound = { comparisons: 0, documentsDiffering: 0, recordsReceived: 0 };

  constructor(channel: Channel, sink: SyncSink) {
    this.#channel = channel;
    this.#sink = sink;
  }

  /**
   * Takes in the documents of these slots that changed since a position of the peer's feed. `complete` says
   * whether that was all: false for a feed of another life, or one that is too far ahead, and then ranges are to be
   * compared. Either way `position` is where the feed can be followed from next time, once everything up to then
   * is here.
   */
  async pullFeed(
    from: FeedPosition | undefined,
    holds: (slot: number) => boolean,
  ): Promise<{ readonly complete: boolean; readonly position: FeedPosition }> {
    let after = from?.change ?? 0;
    for (let page = 0; page < feedPagesMax; page += 1) {
      const sentMs = this.#sink.nowMs();
      const response = await this.#compare({ t: 'feed', feed: from?.feed ?? null, after });
      if (response.t !== 'feed') throw unexpectedResponse(response);
      const { feed, last, through, entries, time } = response;
      if (time !== undefined) this.#sink.heardTime({ sentMs, peerMs: time, receivedMs: this.#sink.nowMs() });
      if (entries === null) return { complete: false, position: { feed, change: last } };
      if (feed !== from?.feed || through < after || through > last) throw violation('a feed that is out of order');
      await this.#pullChanged(unpackItems(entries), holds);
      const position = { feed, change: entries.length === 0 ? last : through };
      if (position.change >= last) return { complete: true, position };
      if (position.change === after) throw violation('a feed that does not go on');
      after = position.change;
    }
    return { complete: false, position: { feed: from?.feed ?? '', change: after } };
  }

  /** Compares the documents of these slots, and takes in what the peer has of those that differ. */
  async pullSlots(slots: readonly number[]): Promise<void> {
    const reconciliation = new Reconciliation((slot) => this.#sink.slotTree(slot), slots);
    for (let questions = reconciliation.ask(); questions.length > 0; questions = reconciliation.ask()) {
      const response = await this.#compare({ t: 'ranges', ranges: questions.map(packRange) });
      if (response.t !== 'ranges') throw unexpectedResponse(response);
      const differences = reconciliation.take(response.answers.map(unpackAnswer));
      await this.#pullChanged(differences.flatMap(({ key, theirs }) => (theirs ? [{ key, value: theirs }] : [])));
    }
    if (reconciliation.fault !== undefined) throw violation(reconciliation.fault);
  }

  /** Takes in what the peer has of these documents. */
  async pullDocuments(docs: readonly DocId[]): Promise<void> {
    let batch: DocId[] = [];
    let heads = 0;
    for (const doc of docs) {
      const count = Math.min(this.#sink.headsOf(doc).length, haveHeadsMax);
      if (batch.length === wantsMax || heads + count > requestHeadsMax) {
        await this.#pullRecords(batch);
        batch = [];
        heads = 0;
      }
      batch.push(doc);
      heads += count;
    }
    if (batch.length > 0) await this.#pullRecords(batch);
  }

  /** Takes in versions by id, such as those whose stored text is damaged. */
  async fetchVersions(versions: readonly VersionId[]): Promise<void> {
    for (let start = 0; start < versions.length; start += versionsMax) {
      const ids = versions.slice(start, start + versionsMax).map((id) => rawHash(id));
      await this.#receiveRecords({ t: 'fetch', versions: ids });
    }
  }

  /** Asks for the documents whose state at the peer is not ours. */
  async #pullChanged(items: readonly Item[], holds: (slot: number) => boolean = () => true): Promise<void> {
    const docs = items.flatMap(({ key, value }) => {
      const doc = idOf<DocId>(key);
      if (!holds(this.#sink.slotOf(doc))) return [];
      const ours = this.#sink.digestOf(doc);
      return ours !== undefined && Buffer.compare(ours, value) === 0 ? [] : [doc];
    });
    this.round.documentsDiffering += docs.length;
    await this.pullDocuments(docs);
  }

  async #pullRecords(docs: readonly DocId[]): Promise<void> {
    // The answer is bounded, so the question is asked again until it is complete or brings nothing new.
    for (;;) {
      const wants = docs.map((doc) => ({
        doc: rawHash(doc),
        have: this.#sink
          .headsOf(doc)
          .slice(0, haveHeadsMax)
          .map((id) => rawHash(id)),
        certified: this.#sink.positionOf(doc),
      }));
      const { more, received } = await this.#receiveRecords({ t: 'records', wants, along: alongBytesMax });
      if (!more || received === 0) return;
    }
  }

  async #receiveRecords(request: SyncRequest): Promise<{ more: boolean; received: number }> {
    const before = this.round.recordsReceived;
    const storing: Promise<number>[] = [];
    try {
      let response = await this.#ask(request);
      while (response.t === 'records' || response.t === 'certificates') {
        if (response.t === 'certificates') {
          // They tell of records that came before them.
          while (storing.length > 0) this.round.recordsReceived += (await storing.shift()) ?? 0;
          await this.#sink.receiveCertificates(response.texts);
          response = await this.#receive();
          continue;
        }
        storing.push(this.#sink.receive(response.texts, response.contents ?? []));
        storing.at(-1)?.catch(() => undefined);
        if (storing.length > messagesAheadMax) this.round.recordsReceived += (await storing.shift()) ?? 0;
        response = await this.#receive();
      }
      while (storing.length > 0) this.round.recordsReceived += (await storing.shift()) ?? 0;
      if (response.t !== 'done') throw unexpectedResponse(response);
      return { more: response.more, received: this.round.recordsReceived - before };
    } finally {
      await Promise.allSettled(storing);
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

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', message);
}
