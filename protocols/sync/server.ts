import { rawHash } from '../../crdt/digest.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { Channel } from '../wire/channel.ts';
import {
  decodeSyncRequest,
  encodeSyncMessage,
  idOf,
  listingEntriesMax,
  listingEntryBytes,
  recordsMessageBytes,
  type SyncRequest,
} from './messages.ts';

/** Records sent in answer to one request, so that one peer's catch-up is cut into turns. */
const recordsPerAnswerMax = 4_096;

/** What the answering side reads. */
export interface SyncSource {
  /** A digest of everything a slot holds. */
  slotFingerprint(slot: number): Uint8Array;
  /** Documents of a slot in the order of their ids, after one of them. */
  listSlot(
    slot: number,
    after: DocId | null,
    limit: number,
  ): readonly { readonly doc: DocId; readonly digest: Uint8Array }[];
  /** Ids of the versions of a document that are not reachable from `have`, parents first. */
  versionsBeyond(doc: DocId, have: readonly VersionId[]): readonly VersionId[];
  /** A record's text. */
  recordText(version: VersionId): Uint8Array | undefined;
}

/**
 * Answers a peer's sync requests on one stream, one after the other, until the peer ends it. Nothing is
 * remembered between requests. Rejects with the channel's `MeshError`; a request that cannot be read is a
 * `protocol_violation`.
 */
export async function serveSync(
  stream: ByteStream,
  source: SyncSource,
  dependencies: { readonly clock: Clock },
): Promise<void> {
  const channel = new Channel(stream, dependencies);
  for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
    const request = decodeSyncRequest(bytes);
    if (!request.ok) {
      const violation = new MeshError('protocol_violation', `unreadable sync request: ${request.error}`);
      channel.reset(violation);
      throw violation;
    }
    await answer(channel, source, request.value);
  }
  await channel.end();
}

async function answer(channel: Channel, source: SyncSource, request: SyncRequest): Promise<void> {
  switch (request.t) {
    case 'slots': {
      const fingerprints = request.slots.map((slot) => source.slotFingerprint(slot));
      return channel.send(encodeSyncMessage({ t: 'slots', fingerprints }));
    }
    case 'list':
      return answerListing(channel, source, request.slot, request.after === null ? null : idOf<DocId>(request.after));
    case 'records':
      return sendRecords(channel, source, wantedVersions(source, request.wants));
    case 'fetch':
      return sendRecords(
        channel,
        source,
        request.versions.map((id) => idOf<VersionId>(id)),
      );
  }
}

function answerListing(channel: Channel, source: SyncSource, slot: number, after: DocId | null): Promise<void> {
  const listed = source.listSlot(slot, after, listingEntriesMax + 1);
  const sent = listed.slice(0, listingEntriesMax);
  const entries = new Uint8Array(sent.length * listingEntryBytes);
  sent.forEach(({ doc, digest }, index) => {
    entries.set(rawHash(doc), index * listingEntryBytes);
    entries.set(digest, index * listingEntryBytes + listingEntryBytes / 2);
  });
  return channel.send(encodeSyncMessage({ t: 'list', entries, more: listed.length > sent.length }));
}

function* wantedVersions(
  source: SyncSource,
  wants: readonly { readonly doc: Uint8Array; readonly have: readonly Uint8Array[] }[],
): Generator<VersionId> {
  for (const { doc, have } of wants) {
    yield* source.versionsBeyond(
      idOf<DocId>(doc),
      have.map((id) => idOf<VersionId>(id)),
    );
  }
}

async function sendRecords(channel: Channel, source: SyncSource, versions: Iterable<VersionId>): Promise<void> {
  let texts: Uint8Array[] = [];
  let bytes = 0;
  let sent = 0;
  let more = false;
  for (const version of versions) {
    if (sent === recordsPerAnswerMax) {
      more = true;
      break;
    }
    const text = source.recordText(version);
    if (text === undefined) continue;
    texts.push(text);
    bytes += text.length;
    sent += 1;
    if (bytes < recordsMessageBytes) continue;
    await channel.send(encodeSyncMessage({ t: 'records', texts }));
    texts = [];
    bytes = 0;
  }
  if (texts.length > 0) await channel.send(encodeSyncMessage({ t: 'records', texts }));
  await channel.send(encodeSyncMessage({ t: 'done', more }));
}
