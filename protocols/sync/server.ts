import type { ConfirmedLink } from '../../crdt/document-digest.ts';
import type { Item, TreeReader } from '../../crdt/fingerprint-tree.ts';
import type { DocId, PeerId, VersionId } from '../../crdt/ids.ts';
import { answerRanges } from '../../crdt/reconcile.ts';
import { SlotSet } from '../../crdt/slot-set.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import type { Channel } from '../wire/channel.ts';
import { idOf } from '../wire/ids.ts';
import { feedEntriesMax, packAnswer, packChanges, unpackRange } from '../wire/item-sets.ts';
import { serveRequests } from '../wire/requests.ts';
import { Histories, type HistorySource, toSend } from './histories.ts';
import {
  certificatesMax,
  decodeSyncRequest,
  encodeSyncMessage,
  haveHeadsMax,
  type SyncRequest,
  type SyncResponse,
} from './messages.ts';
import { RecordSender, type RecordSource } from './record-sender.ts';

/** What a node says of the slots it keeps. */
export interface HeldSlots {
  /** Those it takes part in: it hears of their documents, and compares them. */
  readonly kept: SlotSet;
  /** Those of them that it had reconciled, so that it can tell what there is of them. */
  readonly whole: SlotSet;
}

/** What the answering side reads. */
export interface SyncSource extends HistorySource, RecordSource {
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
  /** The fingerprint trees of the slots' documents, with every change that was here at the call. */
  trees(): Promise<(slot: number) => TreeReader>;
  /** True when a document is not here in this state, or a later one. */
  lacks(doc: DocId, heads: readonly VersionId[], confirmed: ConfirmedLink | undefined): boolean;
  /**
   * Texts of the certificates kept of a document, in order: those of a higher position than the link's, and of another
   * head at the same; all when there is no link.
   */
  certificatesBeside(doc: DocId, link: ConfirmedLink | undefined): readonly string[];
}

interface SyncServerDependencies {
  readonly clock: Clock;
  /** A peer offered documents of slots that are kept here, and they are lacking. */
  readonly lacking: (peer: PeerId, docs: readonly DocId[]) => void;
}

/**
 * Answers a peer's sync requests on one stream, one after the other, until the peer ends it. All that is
 * remembered between requests is what is left of one long history, up to a bound. Rejects with the channel's `MeshError`; a request that cannot be read is a
 * `protocol_violation`.
 */
export async function serveSync(
  stream: ByteStream,
  source: SyncSource,
  dependencies: SyncServerDependencies,
): Promise<void> {
  const histories = new Histories(source, dependencies.clock);
  await serveRequests(
    stream,
    {
      protocol: 'sync',
      decode: decodeSyncRequest,
      answer: (channel, request) => answer(channel, source, request, { ...dependencies, histories }),
    },
    dependencies,
  );
}

async function answer(
  channel: Channel,
  source: SyncSource,
  request: SyncRequest,
  { clock, lacking, histories }: SyncServerDependencies & { readonly histories: Histories },
): Promise<void> {
  switch (request.t) {
    case 'feed':
      return channel.send(encodeSyncMessage(feedAnswer(source, request, clock)));
    case 'ranges': {
      const { kept } = source.slots();
      const trees = await source.trees();
      const treeOf = (slot: number): TreeReader | undefined => (kept.has(slot) ? trees(slot) : undefined);
      const answers = answerRanges(treeOf, request.ranges.map(unpackRange));
      return channel.send(encodeSyncMessage({ t: 'ranges', answers: answers.map(packAnswer) }));
    }
    case 'records':
      return answerWants(channel, source, request, { clock, histories });
    case 'fetch': {
      const versions = request.versions.map((id) => idOf<VersionId>(id));
      const sender = new RecordSender(channel, source, { clock, along: 0 });
      const more = !(await sender.send(versions));
      await sender.flush();
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
  { clock, histories }: { readonly clock: Clock; readonly histories: Histories },
): Promise<void> {
  const known = wants.filter(({ have }) => have.length > 0);
  const unknown = wants.filter(({ have }) => have.length === 0);
  await sendCertificates(channel, source, unknown, clock);
  const sender = new RecordSender(channel, source, { clock, along });
  const more = await sendHistories(sender, histories, wants);
  await sendCertificates(channel, source, known, clock);
  const { whole } = source.slots();
  const partial = whole.isAll
    ? []
    : wants.flatMap(({ doc }, place) => (whole.has(source.slotOf(idOf<DocId>(doc))) ? [] : [place]));
  await channel.send(encodeSyncMessage({ t: 'done', more, ...(partial.length === 0 ? {} : { partial }) }));
}

/** As many of them in each turn of the event loop as go into a message. */
async function sendCertificates(channel: Channel, source: SyncSource, wants: Wants, clock: Clock): Promise<void> {
  const texts: string[] = [];
  for (const { doc, confirmed } of wants) {
    texts.push(...source.certificatesBeside(idOf<DocId>(doc), linkOf(confirmed)));
    if (texts.length < certificatesMax) continue;
    await channel.send(encodeSyncMessage({ t: 'certificates', texts: texts.splice(0, certificatesMax) }));
    await clock.sleep(0);
  }
  if (texts.length > 0) await channel.send(encodeSyncMessage({ t: 'certificates', texts }));
}

function linkOf(confirmed: Wants[number]['confirmed']): ConfirmedLink | undefined {
  return confirmed && { position: confirmed.position, head: idOf<VersionId>(confirmed.head) };
}

/** Resolves with whether a bound cut them short. */
async function sendHistories(sender: RecordSender, histories: Histories, wants: Wants): Promise<boolean> {
  let more = false;
  for (const { doc, have } of wants) {
    const named = have.map((id) => idOf<VersionId>(id));
    const naming = { isFull: have.length === haveHeadsMax };
    const history = await histories.beyond(idOf<DocId>(doc), named, naming);
    more ||= history.isCut;
    if (await sender.send(toSend(history, naming))) continue;
    histories.keep(history);
    more = true;
    break;
  }
  await sender.flush();
  return more;
}
