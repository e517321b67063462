import type { Item, TreeReader } from '../../crdt/fingerprint-tree.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import { answerRanges } from '../../crdt/reconcile.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import type { Channel } from '../wire/channel.ts';
import { serveRequests } from '../wire/requests.ts';
import {
  certificatesMax,
  decodeSyncRequest,
  encodeSyncMessage,
  feedEntriesMax,
  idOf,
  packAnswer,
  packItems,
  recordsMessageBytes,
  type SyncRequest,
  type SyncResponse,
  unpackRange,
} from './messages.ts';

/** Records sent in answer to one request, so that one peer's catch-up is cut into turns. */
const recordsPerAnswerMax = 4_096;

/** What the answering side reads. */
export interface SyncSource {
  /** This node's feed: its name, and the number of its newest change. */
  feed(): { readonly name: string; readonly last: number };
  /** Documents that changed after a number, in the order of their changes, with the digests of their states. */
  changedAfter(change: number, limit: number): { readonly items: readonly Item[]; readonly through: number };
  /** The fingerprint tree of a slot's documents, or undefined for a slot that is not held. */
  slotTree(slot: number): TreeReader | undefined;
  /** Ids of the versions of a document that are not reachable from `have`, parents first. */
  versionsBeyond(doc: DocId, have: readonly VersionId[]): readonly VersionId[];
  /** A record's text. */
  recordText(version: VersionId): Uint8Array | undefined;
  /** Texts of the certificates kept of a document that are of a higher position, in order. */
  certificatesBeyond(doc: DocId, position: number): readonly string[];
  /** The content of a version, when it is here and has at most so many bytes. */
  smallContent(version: VersionId, bytesMax: number): Uint8Array | undefined;
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
  const { clock } = dependencies;
  await serveRequests(
    stream,
    {
      protocol: 'sync',
      decode: decodeSyncRequest,
      answer: (channel, request) => answer(channel, source, request, clock),
    },
    dependencies,
  );
}

async function answer(channel: Channel, source: SyncSource, request: SyncRequest, clock: Clock): Promise<void> {
  switch (request.t) {
    case 'feed':
      return channel.send(encodeSyncMessage(feedAnswer(source, request.feed, request.after, clock)));
    case 'ranges': {
      const answers = answerRanges((slot) => source.slotTree(slot), request.ranges.map(unpackRange));
      return channel.send(encodeSyncMessage({ t: 'ranges', answers: answers.map(packAnswer) }));
    }
    case 'records':
      return answerWants(channel, source, request, clock);
    case 'fetch': {
      const versions = request.versions.map((id) => idOf<VersionId>(id));
      const more = await sendRecords(channel, source, versions, clock);
      return channel.send(encodeSyncMessage({ t: 'done', more }));
    }
  }
}

function feedAnswer(source: SyncSource, feed: string | null, after: number, clock: Clock): SyncResponse {
  const { name, last } = source.feed();
  const answer = { t: 'feed', feed: name, last, time: Math.max(0, Math.round(clock.nowMs())) } as const;
  if (feed !== name || after > last) return { ...answer, through: last, entries: null };
  const { items, through } = source.changedAfter(after, feedEntriesMax);
  return { ...answer, through, entries: packItems(items) };
}

type Wants = Extract<SyncRequest, { t: 'records' }>['wants'];

/** Records first: where a certificate comes, its head is there already. */
async function answerWants(
  channel: Channel,
  source: SyncSource,
  { wants, along }: Pick<Extract<SyncRequest, { t: 'records' }>, 'wants' | 'along'>,
  clock: Clock,
): Promise<void> {
  const more = await sendRecords(channel, source, wantedVersions(source, wants), clock, along);
  const texts = wants.flatMap(({ doc, certified = 0 }) => source.certificatesBeyond(idOf<DocId>(doc), certified));
  for (let start = 0; start < texts.length; start += certificatesMax) {
    const message = { t: 'certificates', texts: texts.slice(start, start + certificatesMax) } as const;
    await channel.send(encodeSyncMessage(message));
    await clock.sleep(0);
  }
  await channel.send(encodeSyncMessage({ t: 'done', more }));
}

function* wantedVersions(source: SyncSource, wants: Wants): Generator<VersionId> {
  for (const { doc, have } of wants) {
    yield* source.versionsBeyond(
      idOf<DocId>(doc),
      have.map((id) => idOf<VersionId>(id)),
    );
  }
}

/** Resolves with whether a bound cut them short. */
async function sendRecords(
  channel: Channel,
  source: SyncSource,
  versions: Iterable<VersionId>,
  clock: Clock,
  along = 0,
): Promise<boolean> {
  let texts: Uint8Array[] = [];
  let contents: Uint8Array[] = [];
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
    const content = along > 0 ? source.smallContent(version, along) : undefined;
    if (content !== undefined) {
      contents.push(content);
      bytes += content.length;
    }
    if (bytes < recordsMessageBytes) continue;
    await channel.send(recordsMessage(texts, contents));
    // While there is credit a send resolves in the same turn: reads and writes of others get theirs in between.
    await clock.sleep(0);
    texts = [];
    contents = [];
    bytes = 0;
  }
  if (texts.length > 0) await channel.send(recordsMessage(texts, contents));
  return more;
}

function recordsMessage(texts: Uint8Array[], contents: Uint8Array[]): Uint8Array {
  return encodeSyncMessage({ t: 'records', texts, ...(contents.length === 0 ? {} : { contents }) });
}
