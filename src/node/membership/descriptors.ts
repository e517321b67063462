import type { ClusterId, NodeId } from '../../../crdt/ids.ts';
import { readMembership, writeMembership } from '../../../crdt/membership.ts';
import {
  type Descriptor,
  decodeDescriptor,
  isNewerDescriptor,
  type SignedDescriptor,
  signedDescriptorDigest,
  verifyDescriptor,
} from '../../../crdt/membership-descriptor.ts';
import { type DescriptorSet, membershipDigest, withDescriptors } from '../../../crdt/membership-set.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import type { Verifier } from '../../ports/verifier.ts';
import { documentKey } from './storage-keys.ts';

/** How long a change waits for others before the document is written: whatever is lost with it, the others still have. */
const writeDelayMs = 5_000;
const actorBytes = 16;

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly verifier: Verifier;
  readonly log: Log;
  /** The key of a member; undefined for who is none. */
  readonly keyOf: (nodeId: NodeId) => Uint8Array | undefined;
}

/** What is to be made of a descriptor: keep it, or not since it is known, of no member, or not signed by its node. */
export type DescriptorVerdict = 'new' | 'known' | 'foreign' | 'forged';

/**
 * The descriptors that this node holds: of each member the newest it has seen, verified. They are kept as the
 * membership document, which is written a little later and read again at the next start.
 */
export class Descriptors {
  readonly #dependencies: Dependencies;
  readonly #cluster: ClusterId;
  readonly #listeners = new Set<() => void>();
  #actor: Uint8Array | undefined;
  #set: DescriptorSet = new Map();
  #digest: { readonly of: DescriptorSet; readonly bytes: Uint8Array } | undefined;
  #written: DescriptorSet = this.#set;
  #cancelWrite: (() => void) | undefined;
  #isClosed = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(dependencies: Dependencies, cluster: ClusterId) {
    this.#dependencies = dependencies;
    this.#cluster = cluster;
  }

  get set(): DescriptorSet {
    return this.#set;
  }

  /** See `membershipDigest`. */
  digest(): Uint8Array {
    if (this.#digest?.of !== this.#set) this.#digest = { of: this.#set, bytes: membershipDigest(this.#set) };
    return this.#digest.bytes;
  }

  /** Calls back when a node tells of other addresses than before, once `set` shows it. Returns the unsubscriber. */
  onMoved(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads what an earlier life knew. What cannot be read or verified any more is left out: the others have it. */
  async open(): Promise<void> {
    const { kv, log } = this.#dependencies;
    const saved = kv.get(documentKey);
    if (saved === undefined) return;
    let texts: Iterable<string> = [];
    try {
      texts = readMembership(saved).values();
    } catch (error) {
      log.warn('membership:document_unreadable', { error });
    }
    const signed: SignedDescriptor[] = [];
    for (const text of texts) {
      const decoded = decodeDescriptor(text);
      if (decoded.ok) signed.push(decoded.value);
    }
    await this.takeAll(signed);
    this.#written = this.#set;
  }

  /** What is to be made of one descriptor. */
  judge(signed: SignedDescriptor): DescriptorVerdict {
    const { nodeId } = signed.descriptor;
    const key = this.#dependencies.keyOf(nodeId);
    if (key === undefined) return 'foreign';
    if (!this.#isNew(signed)) return 'known';
    return verifyDescriptor(signed, this.#cluster, key) ? 'new' : 'forged';
  }

  /** Keeps descriptors that were judged to be new, or were signed here. */
  keep(signed: readonly SignedDescriptor[]): void {
    const taken = signed.filter((each) => this.#isNew(each));
    if (taken.length === 0) return;
    const before = this.#set;
    this.#set = withDescriptors(before, taken);
    this.#changed();
    const hasMoved = taken.some(({ descriptor }) => isElsewhere(descriptor, before.get(descriptor.nodeId)));
    if (hasMoved) for (const listener of [...this.#listeners]) listener();
  }

  /** Verifies many at once and keeps those that hold. Gives the nodes whose signature does not. */
  async takeAll(signed: readonly SignedDescriptor[]): Promise<readonly NodeId[]> {
    const { keyOf, verifier } = this.#dependencies;
    const candidates = signed.flatMap((each) => {
      const key = keyOf(each.descriptor.nodeId);
      return key === undefined || !this.#isNew(each) ? [] : [{ each, key }];
    });
    const holds = await verifier.verify(
      candidates.map(({ each, key }) => signedDescriptorDigest(each, this.#cluster, key)),
    );
    this.keep(candidates.filter((_, at) => holds[at] === true).map(({ each }) => each));
    return candidates.filter((_, at) => holds[at] !== true).map(({ each }) => each.descriptor.nodeId);
  }

  /** Forgets those who are no members any more. */
  prune(): void {
    const { keyOf } = this.#dependencies;
    const kept = [...this.#set].filter(([nodeId]) => keyOf(nodeId) !== undefined);
    if (kept.length === this.#set.size) return;
    this.#set = new Map(kept);
    this.#changed();
  }

  /** Resolves when the document says what is held, or cannot be written. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelWrite?.();
    this.#cancelWrite = undefined;
    await this.#write();
  }

  #isNew(signed: SignedDescriptor): boolean {
    const held = this.#set.get(signed.descriptor.nodeId);
    return held === undefined || isNewerDescriptor(signed, held);
  }

  #changed(): void {
    // What comes while the node stops is heard of again.
    if (this.#isClosed) return;
    this.#cancelWrite ??= this.#dependencies.clock.setTimer(writeDelayMs, () => {
      this.#cancelWrite = undefined;
      void this.#write();
    });
  }

  #write(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeNow());
    return this.#writing;
  }

  async #writeNow(): Promise<void> {
    const { kv, random, log } = this.#dependencies;
    const set = this.#set;
    if (set === this.#written) return;
    this.#actor ??= random.bytes(actorBytes);
    const texts = new Map([...set].map(([nodeId, { text }]) => [nodeId, text]));
    try {
      const document = writeOver(kv.get(documentKey), texts, this.#actor);
      await kv.transact((transaction) => transaction.put(documentKey, document));
      this.#written = set;
    } catch (error) {
      log.warn('membership:not_written', { error });
    }
  }
}

/** A document that rot has made unreadable is begun anew. */
function writeOver(saved: Uint8Array | undefined, texts: ReadonlyMap<NodeId, string>, actor: Uint8Array): Uint8Array {
  try {
    return writeMembership(saved, texts, actor);
  } catch {
    return writeMembership(undefined, texts, actor);
  }
}

function isElsewhere({ addresses }: Descriptor, before: SignedDescriptor | undefined): boolean {
  return addresses.join(' ') !== (before?.descriptor.addresses ?? []).join(' ');
}
