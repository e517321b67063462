import { type NodeId, ok, type PeerId } from '../../../crdt/ids.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import { type ConflictsPage, metadataProtocol, type ObjectsPage } from '../../../protocols/metadata/messages.ts';
import { type MetadataSource, serveMetadata } from '../../../protocols/metadata/server.ts';
import { withDeadline } from '../../../protocols/wire/deadline.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Network } from '../../ports/network.ts';
import type { Conflict, ConflictPage, ConflictsInput, ListedObject, ListInput, Listing, Outcome } from '../api.ts';
import type { ListPart, ObjectReader } from '../object-reader.ts';
import { refuse } from '../refusals.ts';
import { type AskPage, HolderFailed, HolderPages } from './holder-pages.ts';
import { type MergePage, mergePages } from './page-merge.ts';
import type { SlotHoldings } from './slot-holdings.ts';

/** One page for a peer: a few milliseconds of looking, and half a message. */
const rowsPerPageMax = 4_096;
const bytesPerPageMax = 96 * 1024;
const inboundStreamsMax = 8;
/** Sets of holders that are tried, and how long each may take. */
const attemptsMax = 4;
const attemptMsMax = 2_000;
const entriesDefault = 1_000;

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly slots: SlotHoldings;
  readonly reader: Pick<ObjectReader, 'list' | 'conflicts'>;
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  readonly log: Log;
}

/** An object, or a prefix that several have in common. */
type ListEntry = { readonly object: ListedObject } | { readonly prefix: string };

/** One question, to this node's store and to holders; and what its entries are ordered by. */
interface Question<Entry> {
  readonly local: (part: ListPart, after: string | undefined) => MergePage<Entry>;
  readonly remote: AskPage<Entry>;
  readonly nameOf: (entry: Entry) => string;
  readonly after: string | undefined;
  readonly limit: number;
}

/**
 * Listings of the whole mesh at a node that holds a part of the slots: the rest is asked of as few holders as have it,
 * page by page, and merged in order. When the holders of some slot cannot be asked the listing is refused, since a
 * short one would look like a whole one.
 */
export class WholeListing {
  readonly #dependencies: Dependencies;
  readonly #stopping = new AbortController();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** Answers peers that ask for what this node holds. */
  start(): void {
    const { network, clock } = this.#dependencies;
    network.handle(metadataProtocol, (stream) => serveMetadata(stream, this.#source(), { clock }), {
      inboundStreamsMax,
    });
  }

  /** Whoever waits for a listing is told `shutting_down`. */
  stop(): void {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
  }

  async list(input: ListInput): Promise<Outcome<Listing>> {
    const { slots, reader } = this.#dependencies;
    if (slots.held.isAll) return reader.list(input);
    // What is wrong with the question is found here, whoever has the answer.
    const judged = reader.list(input, { ...nothing, slots: slots.held });
    if (!judged.ok) return judged;
    const { ns, prefix = '', delimiter = '', after, limit = entriesDefault } = input;
    const listed = await this.#ask<ListEntry>({
      local: (part, from) => {
        const page = stored(reader.list({ ...input, limit, ...afterOf(from) }, part));
        return { entries: entriesOf(page), next: page.next };
      },
      remote: async (client, own, from) => {
        const page = await client.objects({ slots: own, ns, prefix, delimiter, after: from ?? null, limit });
        return page && { entries: entriesOf(page), next: page.next };
      },
      nameOf: nameOfEntry,
      after,
      limit,
    });
    if (!listed.ok) return listed;
    const { entries, next } = listed.value;
    return ok({
      objects: entries.flatMap((entry) => ('object' in entry ? entry.object : [])),
      prefixes: entries.flatMap((entry) => ('prefix' in entry ? entry.prefix : [])),
      next,
    });
  }

  async conflicts(input: ConflictsInput): Promise<Outcome<ConflictPage>> {
    const { slots, reader } = this.#dependencies;
    if (slots.held.isAll) return reader.conflicts(input);
    const judged = reader.conflicts(input, { ...nothing, slots: slots.held });
    if (!judged.ok) return judged;
    const { ns = null, after, limit = entriesDefault } = input;
    const listed = await this.#ask<Conflict>({
      local: (part, from) => {
        const page = stored(reader.conflicts({ ...input, limit, ...afterOf(fromSortable(from)) }, part));
        return { entries: page.conflicts, next: toSortable(page.next) };
      },
      remote: async (client, own, from) => {
        const page = await client.conflicts({ slots: own, ns, after: fromSortable(from) ?? null, limit });
        return page && { entries: page.conflicts, next: toSortable(page.next) };
      },
      nameOf: (conflict) => `${conflict.ns}\0${conflict.key}`,
      after: toSortable(after ?? null) ?? undefined,
      limit,
    });
    if (!listed.ok) return listed;
    const { entries, next } = listed.value;
    return ok({ conflicts: entries, next: fromSortable(next ?? undefined) ?? null });
  }

  async #ask<Entry>(question: Question<Entry>): Promise<Outcome<MergePage<Entry>>> {
    const { clock, log } = this.#dependencies;
    const failed = new Set<NodeId>();
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const plan = this.#plan(failed);
      if (plan === undefined) break;
      try {
        const merge = (signal: AbortSignal) => this.#merge(question, plan, signal);
        return ok(await withDeadline(clock, attemptMsMax, merge, this.#stopping.signal));
      } catch (error) {
        this.#stopping.signal.throwIfAborted();
        log.debug('listing:holders_failed', { error });
        // Whoever was too slow cannot be told from the others.
        const nodes = error instanceof HolderFailed ? [error.node] : plan.keys();
        for (const node of nodes) failed.add(node);
      }
    }
    return refuse(
      'metadata_unavailable',
      'this node holds a part of the listings, and no holder of the rest answers; ask again, or ask a coordinator',
    );
  }

  /** As few connected holders as have every slot that is not held here; undefined when some slot has none. */
  #plan(failed: ReadonlySet<NodeId>): ReadonlyMap<NodeId, SlotSet> | undefined {
    const { network, slots, peerOf } = this.#dependencies;
    const { placement, held } = slots;
    const connected = new Set(network.connectedPeers());
    const reach = new Map<NodeId, number[]>();
    let missing = SlotSet.all(held.count).minus(held);
    for (const slot of missing.list()) {
      for (const node of placement.holdersOf(slot)) {
        const peer = peerOf(node);
        if (failed.has(node) || peer === undefined || !connected.has(peer)) continue;
        const own = reach.get(node);
        if (own === undefined) reach.set(node, [slot]);
        else own.push(slot);
      }
    }
    const plan = new Map<NodeId, SlotSet>();
    while (missing.size > 0) {
      let best: { readonly node: NodeId; readonly covers: SlotSet } | undefined;
      for (const [node, own] of reach) {
        const covers = SlotSet.of(held.count, own).and(missing);
        if (covers.size > (best?.covers.size ?? 0)) best = { node, covers };
      }
      if (best === undefined) return undefined;
      plan.set(best.node, best.covers);
      missing = missing.minus(best.covers);
    }
    return plan;
  }

  async #merge<Entry>(
    { local, remote, nameOf, after, limit }: Question<Entry>,
    plan: ReadonlyMap<NodeId, SlotSet>,
    signal: AbortSignal,
  ): Promise<MergePage<Entry>> {
    const { slots, peerOf } = this.#dependencies;
    const holders = Array.from(plan, ([node, own]) => {
      const peer = peerOf(node);
      if (peer === undefined) throw new HolderFailed(node);
      return new HolderPages(this.#dependencies, { node, peer, slots: own, ask: remote, signal });
    });
    const own = { slots: slots.held, rowsMax: rowsPerPageMax, bytesMax: Number.POSITIVE_INFINITY };
    const here = { page: async (from: string | undefined) => local(own, from) };
    try {
      return await mergePages([here, ...holders], nameOf, { after, limit });
    } finally {
      for (const holder of holders) holder.close();
    }
  }

  #source(): MetadataSource {
    const { reader, slots } = this.#dependencies;
    const partOf = (own: SlotSet): ListPart => {
      return { slots: own, rowsMax: rowsPerPageMax, bytesMax: bytesPerPageMax };
    };
    return {
      whole: () => slots.whole,
      objects: ({ after, ...query }, own): ObjectsPage | undefined => {
        const listed = reader.list({ ...query, ...afterOf(after ?? undefined) }, partOf(own));
        if (!listed.ok) return undefined;
        const { objects, prefixes, next } = listed.value;
        return { objects: [...objects], prefixes: [...prefixes], next };
      },
      conflicts: ({ ns, after, limit }, own): ConflictsPage | undefined => {
        const input = { limit, ...(ns === null ? {} : { ns }), ...afterOf(after ?? undefined) };
        const listed = reader.conflicts(input, partOf(own));
        if (!listed.ok) return undefined;
        const { conflicts, next } = listed.value;
        return { conflicts: conflicts.map((conflict) => ({ ...conflict, heads: [...conflict.heads] })), next };
      },
    };
  }
}

/** Looks at nothing. */
const nothing = { rowsMax: 0, bytesMax: 0 } as const;

/** What a question that was judged already comes to. */
function stored<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`a listing was refused with ${outcome.error.code}`);
  return outcome.value;
}

function afterOf(after: string | undefined): { readonly after?: string } {
  return after === undefined ? {} : { after };
}

function nameOfEntry(entry: ListEntry): string {
  return 'prefix' in entry ? entry.prefix : entry.object.key;
}

/** Objects and prefixes, each in order, in one order. */
function entriesOf({ objects, prefixes }: Pick<Listing, 'objects' | 'prefixes'>): ListEntry[] {
  const entries: ListEntry[] = [...objects.map((object) => ({ object })), ...prefixes.map((prefix) => ({ prefix }))];
  if (prefixes.length === 0) return entries;
  const named = entries.map((entry) => ({ entry, name: Buffer.from(nameOfEntry(entry)) }));
  return named.sort((left, right) => Buffer.compare(left.name, right.name)).map(({ entry }) => entry);
}

/** A conflict's place as it sorts in the store: what a namespace may have comes before a slash. */
function toSortable(place: string | null): string | null {
  return place === null ? null : place.replace('/', '\0');
}

function fromSortable(place: string | undefined): string | undefined {
  return place?.replace('\0', '/');
}
