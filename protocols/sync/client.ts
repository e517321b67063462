import { rawHash } from '../../crdt/digest.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Channel } from '../wire/channel.ts';
import {
  decodeSyncResponse,
  encodeSyncMessage,
  haveHeadsMax,
  idOf,
  listingEntryBytes,
  requestHeadsMax,
  type SyncRequest,
  type SyncResponse,
  versionsMax,
  wantsMax,
} from './messages.ts';

/** Listing pages of one slot: 2^26 documents, past which a peer is not believed. */
const pagesMax = 22_000;

/** What the asking side compares with, and where what it lacks goes. */
export interface SyncSink {
  slotFingerprint(slot: number): Uint8Array;
  /** The digest of a document's state here, or undefined when it is not held. */
  digestOf(slot: number, doc: DocId): Uint8Array | undefined;
  /** Which slot a document belongs to. */
  slotOf(doc: DocId): number;
  headsOf(doc: DocId): readonly VersionId[];
  /** Takes in records, parents first. Resolves with how many were new; rejects when the peer sent what can never be valid. */
  receive(texts: readonly Uint8Array[]): Promise<number>;
}

/** What one round came to. */
export interface SyncRound {
  slotsDiffering: number;
  documentsDiffering: number;
  recordsReceived: number;
}

/**
 * The asking side of sync on one channel: compares slots, then the listings of those that differ, and takes
 * in the records it lacks. Pull only: the peer asks for itself. Every method rejects with `MeshError`,
 * `protocol_violation` when the peer's answer is not one to the question.
 */
export class SyncClient {
  readonly #channel: Channel;
  readonly #sink: SyncSink;
  readonly round: SyncRound = { slotsDiffering: 0, documentsDiffering: 0, recordsReceived: 0 };

  constructor(channel: Channel, sink: SyncSink) {
    this.#channel = channel;
    this.#sink = sink;
  }

  /** Takes in everything the peer has in these slots that is not here. */
  async pullSlots(slots: readonly number[]): Promise<void> {
    const response = await this.#ask({ t: 'slots', slots: [...slots] });
    if (response.t !== 'slots' || response.fingerprints.length !== slots.length) throw unexpected(response);
    for (const [index, slot] of slots.entries()) {
      const theirs = response.fingerprints[index];
      if (theirs === undefined || equalBytes(theirs, this.#sink.slotFingerprint(slot))) continue;
      this.round.slotsDiffering += 1;
      await this.#pullSlot(slot);
    }
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

  async #pullSlot(slot: number): Promise<void> {
    let after: Uint8Array | null = null;
    for (let page = 0; page < pagesMax; page += 1) {
      const response = await this.#ask({ t: 'list', slot, after });
      if (response.t !== 'list') throw unexpected(response);
      const { docs, last } = this.#differing(slot, response.entries, after);
      this.round.documentsDiffering += docs.length;
      await this.pullDocuments(docs);
      if (!response.more || last === null) return;
      after = last;
    }
  }

  /** The documents of a page whose state differs from ours. Pages must ascend, or a peer could list for ever. */
  #differing(slot: number, entries: Uint8Array, after: Uint8Array | null): { docs: DocId[]; last: Uint8Array | null } {
    const docs: DocId[] = [];
    let last = after;
    for (let at = 0; at < entries.length; at += listingEntryBytes) {
      const raw = entries.subarray(at, at + listingEntryBytes / 2);
      const digest = entries.subarray(at + listingEntryBytes / 2, at + listingEntryBytes);
      const doc = idOf<DocId>(raw);
      if (last !== null && Buffer.compare(raw, last) <= 0) throw violation('a listing is out of order');
      if (this.#sink.slotOf(doc) !== slot) throw violation('a listing names a document of another slot');
      last = raw;
      const ours = this.#sink.digestOf(slot, doc);
      if (ours === undefined || !equalBytes(ours, digest)) docs.push(doc);
    }
    return { docs, last };
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
      }));
      const { more, received } = await this.#receiveRecords({ t: 'records', wants });
      if (!more || received === 0) return;
    }
  }

  async #receiveRecords(request: SyncRequest): Promise<{ more: boolean; received: number }> {
    let received = 0;
    let response = await this.#ask(request);
    while (response.t === 'records') {
      const fresh = await this.#sink.receive(response.texts);
      received += fresh;
      this.round.recordsReceived += fresh;
      response = await this.#receive();
    }
    if (response.t !== 'done') throw unexpected(response);
    return { more: response.more, received };
  }

  async #ask(request: SyncRequest): Promise<SyncResponse> {
    await this.#channel.send(encodeSyncMessage(request));
    return this.#receive();
  }

  async #receive(): Promise<SyncResponse> {
    const bytes = await this.#channel.receive();
    if (bytes === null) throw new MeshError('stream_failed', 'the peer ended the exchange before its answer');
    const response = decodeSyncResponse(bytes);
    if (!response.ok) throw violation(`unreadable sync response: ${response.error}`);
    return response.value;
  }
}

function unexpected(response: SyncResponse): MeshError {
  return violation(`a '${response.t}' message does not answer the question`);
}

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', message);
}

function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
