import type { ConfirmedLink } from '../../crdt/document-digest.ts';
import type { Item, TreeReader } from '../../crdt/fingerprint-tree.ts';
import type { DocId, PeerId, VersionId } from '../../crdt/ids.ts';
import { answerRanges } from '../../crdt/reconcile.ts';
import { SlotSet } from '../../crdt/slot-set.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import type { Channel } from '../wire/channel.ts';
import { feedEntriesMax, packAnswer, packChanges, unpackRange } from '../wire/item-sets.ts';
import { serveRequests } from '../wire/requests.ts';
import {
  certificatesMax,
  decodeSyncRequest,
  encodeSyncMessage,
  idOf,
  recordsMessageBytes,
  type SyncRequest,
  type SyncResponse,
} from './messages.ts';

/** Records sent in answer to one request, so that one peer's catch-up is cut into turns. */
const recordsPerAnswerMax = 4_096;

/** What a node says of the slots it keeps. */
export interface HeldSlots {
  /** Those it takes part in: it hears of their documents, and compares them. */
  readonly kept: SlotSet;
  /** Those of them that it had reconciled, so that it can tell what there is of them. */
  readonly whole: SlotSet;
}

/** What the answering side reads. */
export interface SyncSource {
  /** This node's feed: its name, and the number of its newest change. */
  feed(): { readonly name: string; readonly last: number };
  /** The slots that are kept here, and those of them that are here whole, as far as anybody can know. */
  slots(): HeldSlots;
  slotOf(doc: DocId): number;
  /**
   * Documents of these slots that changed after a number, in the order of their changes, with the digests of their
   * states; nothing else of them changed up to `through`. A bounded look: it may find none and not have come to the end.
   */
  changedAfter(
    change: number,
    limit: number,
    slots: SlotSet,
  ): { readonly items: readonly Item[]; readonly through: number };
  /** The fingerprint tree of a slot's documents. */
  slotTree(slot: number): TreeReader;
  /** True when a document is not here in this state, or a later one. */
  lacks(doc: DocId, heads: readonly VersionId[], confirmed: ConfirmedLink | undefined): boolean;
  /** Ids of the versions of a document that are not reachable from `have`, parents first. */
  versionsBeyond(doc: DocId, have: readonly VersionId[]): readonly VersionId[];
  /** A record's text. */
  recordText(version: VersionId): Uint8Array | undefined;
  /**
   * Texts of the certificates kept of a document, in order: those of a higher position than the link's, and of another
   * head at the same; all when there is no link.
   */
  certificatesBeside(doc: DocId, link: ConfirmedLink | undefined): readonly string[];
  /** The content of a version, when it is here and has at most so many bytes. */
  smallContent(version: VersionId, bytesMax: number): Uint8Array | undefined;
}

interface SyncServerDependencies {
  readonly clock: Clock;
  /** A peer offered documents of slots that are kept here, and they are lacking. */
  readonly lacking: (peer: PeerId, docs: readonly DocId[]) => void;
}

/**
 * Answers a peer's sync requests on one stream, one after the other, until the peer ends it. Nothing is
 * remembered between requests. Rejects with the channel's `MeshError`; a request that cannot be read is a
 * `protocol_violation`.
 */
export async function serveSync(
  stream: ByteStream,
  source: SyncSource,
  dependencies: SyncServerDependencies,
): Promise<void> {
  await serveRequests(
    stream,
    {
      protocol: 'sync',
      decode: decodeSyncRequest,
      answer: (channel, request) => answer(channel, source, request, dependencies),
    },
    dependencies,
  );
}

async function answer(
  channel: Channel,
  source: SyncSource,
  request: SyncRequest,
  { clock, lacking }: SyncServerDependencies,
): Promise<void> {
  switch (request.t) {
    case 'feed':
      return channel.send(encodeSyncMessage(feedAnswer(source, request, clock)));
    case 'ranges': {
      const { kept } = source.slots();
      const treeOf = (slot: number): TreeReader | undefined => (kept.has(slot) ? source.slotTree(slot) : undefined);
      const answers = answerRanges(treeOf, request.ranges.map(unpackRange));
      return channel.send(encodeSyncMessage({ t: 'ranges', answers: answers.map(packAnswer) }));
    }
    case 'records':
      return answerWants(channel, source, request, clock);
    case 'fetch': {
      const versions = request.versions.map((id) => idOf<VersionId>(id));
      const more = await sendRecords(channel, source, versions, clock);
      return channel.send(encodeSyncMessage({ t: 'done', more }));
    }
    case 'offer': {
      const { lacks, wanted } = judgeOffer(source, request.docs);
      if (wanted.length > 0) lacking(channel.remotePeer, wanted);
      return channel.send(encodeSyncMessage({ t: 'offered', lacks }));
    }
  }
}

function feedAnswer(
  source: SyncSource,
  { feed, after, slots: asked }: Extract<SyncRequest, { t: 'feed' }>,
  clock: Clock,
): SyncResponse {
  const { name, last } = source.feed();
  const { kept, whole } = source.slots();
  const answer = {
    t: 'feed',
    feed: name,
    last,
    time: Math.max(0, Math.round(clock.nowMs())),
    ...(whole.isAll ? {} : { slots: { kept: kept.encode(), whole: whole.encode() } }),
  } as const;
  if (feed !== name || after > last) return { ...answer, through: last, entries: null };
  const { items, through } = source.changedAfter(after, feedEntriesMax, readSlots(asked, kept.count));
  return { ...answer, through, entries: packChanges(items) };
}

/** The slots an asker named; all when it named none. Throws `MeshError` `protocol_violation` for what is no set of them. */
function readSlots(bytes: Uint8Array | undefined, count: number): SlotSet {
  const slots = bytes === undefined ? SlotSet.all(count) : SlotSet.decode(bytes, count);
  if (slots === undefined) throw new MeshError('protocol_violation', 'the peer named slots that there are not');
  return slots;
}

/** The places of what is lacking or not kept here, and the documents of these that are wanted. */
function judgeOffer(
  source: SyncSource,
  docs: Extract<SyncRequest, { t: 'offer' }>['docs'],
): { lacks: number[]; wanted: DocId[] } {
  const { kept } = source.slots();
  const lacks: number[] = [];
  const wanted: DocId[] = [];
  for (const [place, { doc: raw, heads, confirmed }] of docs.entries()) {
    const doc = idOf<DocId>(raw);
    const isKept = kept.has(source.slotOf(doc));
    const isLacking = source.lacks(
      doc,
      heads.map((head) => idOf<VersionId>(head)),
      linkOf(confirmed),
    );
    if (isLacking || !isKept) lacks.push(place);
    if (isLacking && isKept) wanted.push(doc);
  }
  return { lacks, wanted };
}

type Wants = Extract<SyncRequest, { t: 'records' }>['wants'];

/**
 * Certificates of documents that are new to the asker come first: a head that is known to be confirmed is stored as such at
 * once. Those of others come last, when their heads are there.
 */
async function answerWants(
  channel: Channel,
  source: SyncSource,
  { wants, along }: Pick<Extract<SyncRequest, { t: 'records' }>, 'wants' | 'along'>,
  clock: Clock,
): Promise<void> {
  const known = wants.filter(({ have }) => have.length > 0);
  const unknown = wants.filter(({ have }) => have.length === 0);
  await sendCertificates(channel, source, unknown, clock);
  const more = await sendRecords(channel, source, wantedVersions(source, wants), clock, along);
  await sendCertificates(channel, source, known, clock);
  const { whole } = source.slots();
  const partial = whole.isAll
    ? []
    : wants.flatMap(({ doc }, place) => (whole.has(source.slotOf(idOf<DocId>(doc))) ? [] : [place]));
  await channel.send(encodeSyncMessage({ t: 'done', more, ...(partial.length === 0 ? {} : { partial }) }));
}

async function sendCertificates(channel: Channel, source: SyncSource, wants: Wants, clock: Clock): Promise<void> {
  const texts = wants.flatMap(({ doc, confirmed }) => source.certificatesBeside(idOf<DocId>(doc), linkOf(confirmed)));
  for (let start = 0; start < texts.length; start += certificatesMax) {
    const message = { t: 'certificates', texts: texts.slice(start, start + certificatesMax) } as const;
    await channel.send(encodeSyncMessage(message));
    await clock.sleep(0);
  }
}

function linkOf(confirmed: Wants[number]['confirmed']): ConfirmedLink | undefined {
  return confirmed && { position: confirmed.position, head: idOf<VersionId>(confirmed.head) };
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
