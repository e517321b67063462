import type { BlobHash, NodeId, VersionId } from '../../crdt/ids.ts';
import { isEligible } from '../../crdt/placement.ts';
import type { Content } from '../../crdt/version.ts';
import type { Order } from '../../protocols/replicas/server.ts';
import type { ContentSubject } from '../node/content/pull-jobs.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Absent } from './absences.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import type { VersionSource } from './subject-index.ts';

/** Contents of which it is remembered who was said to have them; the oldest are forgotten first. */
const hintsMax = 20_000;
/** Versions of which it is remembered that they were ordered here; one that is forgotten is ordered again. */
const orderedMax = 20_000;
/** Orders that wait until their versions were brought here; past that they are left, and come again. */
const strangersMax = 4_096;

/** A content that this node is to fetch, and the version it belongs to. */
export interface WantedContent {
  readonly content: Content;
  readonly subject: ContentSubject;
}

export interface OrderTakerDependencies {
  readonly kv: Kv;
  readonly versions: VersionSource;
  readonly placement: PlacementDirectory;
  readonly absent: () => Absent;
  readonly self: NodeId;
  /** Makes jobs of what is not here whole, durably, and starts on them. */
  readonly want: (wanted: readonly WantedContent[]) => Promise<void>;
  /** Brings a version of a slot that this node does not hold; undefined when there is nothing to bring. Never rejects. */
  readonly bring: (object: Pick<ContentSubject, 'ns' | 'key' | 'version'>) => Promise<unknown> | undefined;
  readonly log: Log;
}

/**
 * Takes orders to fetch a content. One is taken up when the version is known here and names that content, and when this
 * node's own view of placement says that it should hold it; from a coordinator also when the policy merely lets it, since
 * that one may know of nodes that are gone, or were caught without what they say they have, before this one does. Where
 * slots are placed, the holder of a content need not hold its slot: then the version is brought here first.
 */
export class OrderTaker {
  readonly #dependencies: OrderTakerDependencies;
  readonly #hints = new Map<BlobHash, readonly NodeId[]>();
  /** Versions that a coordinator ordered here though placement does not say so. Of the next one it may think otherwise. */
  readonly #ordered = new Set<VersionId>();
  readonly #strangers = new Map<string, { readonly order: Order; readonly isFromCoordinator: boolean }>();
  #bringing: Promise<void> | undefined;
  #stopped = false;

  constructor(dependencies: OrderTakerDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Resolves with how many were taken up, once they are on disk; those whose versions have to be brought here first are
   * not among them. Rejects as the store does.
   */
  async take(orders: readonly Order[], isFromCoordinator = false): Promise<number> {
    const wanted = orders.flatMap((order) => this.#judge(order, isFromCoordinator) ?? []);
    if (wanted.length > 0) await this.#dependencies.want(wanted);
    for (const order of orders) this.#noteStranger(order, isFromCoordinator);
    if (this.#strangers.size > 0)
      this.#bringing ??= this.#bringAll().finally(() => {
        this.#bringing = undefined;
      });
    return wanted.length;
  }

  /** Resolves when nothing is being brought any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#strangers.clear();
    await this.#bringing;
  }

  #noteStranger(order: Order, isFromCoordinator: boolean): void {
    const { kv, versions } = this.#dependencies;
    if (this.#stopped || this.#strangers.size >= strangersMax || versions.record(kv, order.version) !== undefined)
      return;
    if (!this.shouldHold(order) && !(isFromCoordinator && this.#mayHold(order.ns))) return;
    this.#strangers.set(order.version, { order, isFromCoordinator });
  }

  async #bringAll(): Promise<void> {
    const { kv, versions, bring, log } = this.#dependencies;
    for (const [version, { order, isFromCoordinator }] of this.#strangers) {
      if (this.#stopped) return;
      try {
        const bringing = bring(order);
        if (bringing !== undefined) await bringing;
        if (bringing !== undefined && versions.record(kv, order.version) !== undefined)
          await this.take([order], isFromCoordinator);
      } catch (error) {
        log.debug('orders:not_taken', { ns: order.ns, key: order.key, version, error });
      }
      this.#strangers.delete(version);
    }
  }

  /** True when this node is a desired holder of a version, or stands in for one. */
  shouldHold({ ns, key, version }: Pick<ContentSubject, 'ns' | 'key' | 'version'>): boolean {
    const { placement, absent, self } = this.#dependencies;
    if (placement.holds(self, ns, key) || this.#ordered.has(version)) return true;
    const { gone } = absent();
    return gone.size > 0 && placement.assigned(ns, key, gone).substitutes.includes(self);
  }

  /** Who was said to have a content. */
  hinted(manifest: BlobHash): readonly NodeId[] {
    return this.#hints.get(manifest) ?? [];
  }

  #judge({ ns, key, version, manifest, holders }: Order, isFromCoordinator: boolean): WantedContent | undefined {
    const { kv, versions, log } = this.#dependencies;
    const record = versions.record(kv, version);
    const content = record?.content;
    const isKnown = record?.ns === ns && record.key === key && content?.manifest === manifest;
    const isWanted = this.shouldHold({ ns, key, version });
    if (!isKnown || !content || (!isWanted && !(isFromCoordinator && this.#mayHold(ns)))) {
      log.debug('orders:not_taken', { ns, key, version, isKnown });
      return undefined;
    }
    if (!isWanted) this.#noteOrdered(version);
    if (holders.length > 0) this.#hint(manifest, holders);
    return { content, subject: { ns, key, version, origin: record.node } };
  }

  #mayHold(ns: string): boolean {
    const { placement, self } = this.#dependencies;
    const map = placement.map();
    const own = map.nodes.find(({ nodeId }) => nodeId === self);
    return own !== undefined && isEligible(own, map.policyOf(ns));
  }

  #noteOrdered(version: VersionId): void {
    this.#ordered.delete(version);
    this.#ordered.add(version);
    for (const oldest of this.#ordered) {
      if (this.#ordered.size <= orderedMax) break;
      this.#ordered.delete(oldest);
    }
  }

  #hint(manifest: BlobHash, holders: readonly NodeId[]): void {
    this.#hints.delete(manifest);
    this.#hints.set(manifest, holders);
    for (const oldest of this.#hints.keys()) {
      if (this.#hints.size <= hintsMax) break;
      this.#hints.delete(oldest);
    }
  }
}
