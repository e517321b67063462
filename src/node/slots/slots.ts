import { isHash } from '../../../crdt/digest.ts';
import type { NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import { checkKey, checkNamespace } from '../../../crdt/object-name.ts';
import { defaultSlotRules, type SlotRules } from '../../../crdt/slot-placement.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Network } from '../../ports/network.ts';
import type { ConflictPage, ConflictsInput, ListInput, Listing, Outcome, RefusalCode } from '../api.ts';
import type { DocumentPuller } from '../document-puller.ts';
import type { MemberDirectory } from '../member-directory.ts';
import type { ObjectReader } from '../object-reader.ts';
import type { ObjectStore } from '../object-store.ts';
import { refuse } from '../refusals.ts';
import { GuestDocuments } from './guest-documents.ts';
import { SlotDuties } from './slot-duties.ts';
import { SlotHoldings } from './slot-holdings.ts';
import { WholeListing } from './whole-listing.ts';

/** Documents kept that came here only to be read. */
const guestsDefault = 4_096;

/** Settings for development and tests: small meshes in which slots are placed all the same. */
export interface SlotSettings extends SlotRules {
  /** Documents kept that came here only to be read; 4,096 when absent. */
  readonly guestsMax?: number;
}

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly network: Network;
  readonly members: MemberDirectory;
  readonly objects: () => ObjectStore;
  readonly puller: Pick<DocumentPuller, 'pull'>;
  readonly reader: Pick<ObjectReader, 'list' | 'conflicts'>;
  /** Something is owed to the holders of a slot. */
  readonly owed: () => void;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface ObjectName {
  readonly ns: string;
  readonly key: string;
}

/** An object, and versions of it that somebody knows of. */
interface ObjectQuestion extends ObjectName {
  readonly version?: string;
  readonly parents?: readonly string[];
}

/** Refusals that only say what is here, which is not all there is of a slot held elsewhere. */
const saysNothingElsewhere: ReadonlySet<RefusalCode> = new Set(['not_found', 'version_not_found', 'unknown_parent']);

/** The slots of metadata at one node: which it holds, what it owes the holders of the others, and how it reads those. */
export class Slots {
  readonly holdings: SlotHoldings;
  readonly duties: SlotDuties;
  readonly #objects: () => ObjectStore;
  readonly #kv: Kv;
  readonly #guests: GuestDocuments;
  readonly #listing: WholeListing;

  constructor(
    dependencies: Dependencies,
    options: { readonly nodeId: NodeId; readonly slots: number; readonly settings: SlotSettings | undefined },
  ) {
    const { members, objects, kv } = dependencies;
    const { nodeId, slots, settings = defaultSlotRules } = options;
    const { threshold, replicas, guestsMax = guestsDefault }: SlotSettings = settings;
    this.#objects = objects;
    this.#kv = kv;
    this.holdings = new SlotHoldings(
      { ...dependencies, members: () => members.members },
      { nodeId, slots, rules: { threshold, replicas } },
    );
    const held = { ...dependencies, slots: this.holdings };
    const peerOf = (node: NodeId): PeerId | undefined => members.byNode(node)?.peerId;
    this.duties = new SlotDuties({ ...held, slotOf: (doc) => objects().slotOf(doc) }, { nodeId });
    this.#guests = new GuestDocuments({ ...held, peerOf }, { nodeId, guestsMax });
    this.#listing = new WholeListing({ ...held, peerOf });
  }

  /** To be called once the control log is here, before anything is written, read or compared. */
  async start(): Promise<void> {
    await this.holdings.start(this.#objects().counts(this.#kv).objects > 0);
    this.#guests.start();
    this.#listing.start();
  }

  async stop(): Promise<void> {
    this.#listing.stop();
    await this.#guests.stop();
    await this.holdings.idle();
  }

  /**
   * Brings here what a holder has of an object whose slot this node does not hold; undefined at once where there is
   * nothing to bring: a holder was asked just now, and the versions that are named are here. Resolves all the same when no holder answers: `judged` knows.
   */
  bring({ ns, key, version, parents = [] }: ObjectQuestion): Promise<unknown> | undefined {
    if (this.holdings.isEverything) return undefined;
    if (checkNamespace(ns) !== undefined || checkKey(key) !== undefined) return undefined;
    const objects = this.#objects();
    const doc = objects.documentId(ns, key);
    if (this.holdings.holds(objects.slotOf(doc))) return undefined;
    const named = version === undefined ? parents : [...parents, version];
    const isAllHere = named.every((id) => !isHash(id) || objects.holds(this.#kv, id as VersionId));
    return isAllHere && this.#guests.isCurrent(doc) ? undefined : this.#guests.bring(doc);
  }

  /** An answer about an object, as far as what is here can give one. */
  judged<T>({ ns, key }: ObjectName, outcome: Outcome<T>): Outcome<T> {
    if (outcome.ok || this.holdings.isEverything || !saysNothingElsewhere.has(outcome.error.code)) return outcome;
    if (this.#guests.isCurrent(this.#objects().documentId(ns, key))) return outcome;
    return refuse(
      'metadata_unavailable',
      `the versions of ${ns}/${key} are held by other nodes, and none of them answers; ask again, or ask one of them`,
    );
  }

  /** An answer about all objects, from what is here alone. */
  ofEverything<T>(answer: () => Outcome<T>): Outcome<T> {
    if (this.holdings.held.isAll) return answer();
    return refuse('metadata_unavailable', 'this node holds a part of the listings, and was not to ask for the rest');
  }

  list(input: ListInput): Promise<Outcome<Listing>> {
    return this.#listing.list(input);
  }

  conflicts(input: ConflictsInput): Promise<Outcome<ConflictPage>> {
    return this.#listing.conflicts(input);
  }
}
