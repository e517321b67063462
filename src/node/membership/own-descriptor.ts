import { encodeCanonical } from '../../../crdt/canonical-json.ts';
import type { ClusterId, NodeId } from '../../../crdt/ids.ts';
import { type DescriptorFields, type SignedDescriptor, signDescriptor } from '../../../crdt/membership-descriptor.ts';
import type { Signer } from '../../../crdt/signature.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { decodeRow, encodeRow } from '../rows.ts';
import type { Descriptors } from './descriptors.ts';
import { sequenceKey } from './storage-keys.ts';

/** Between two descriptors of this process: whoever runs a copy of this node's directory is not answered faster. */
const reissueGapMs = 5_000;
/** Capacities that differ by less than this share are not worth telling of. */
const capacityShare = 1 / 16;

/** What this node says of itself beside its name, its number and the time. */
export type SelfDescription = Pick<DescriptorFields, 'addresses' | 'url' | 'labels' | 'capacityBytes' | 'version'>;

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly log: Log;
  readonly descriptors: Descriptors;
  /** Tells the others of a descriptor that is on disk. */
  readonly announce: (signed: SignedDescriptor) => void;
}

/**
 * This node's descriptor: issued anew at every start, when what it says has changed, and when the others know a newer
 * one than this node does (its disk was put back or wiped). A sequence is on disk before it is used.
 */
export class OwnDescriptor {
  readonly #dependencies: Dependencies;
  readonly #nodeId: NodeId;
  readonly #cluster: ClusterId;
  #issued: SignedDescriptor | undefined;
  #issuing = false;
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(dependencies: Dependencies, options: { readonly nodeId: NodeId; readonly cluster: ClusterId }) {
    this.#dependencies = dependencies;
    this.#nodeId = options.nodeId;
    this.#cluster = options.cluster;
  }

  /** The descriptor this process stands by; undefined until the first one is on disk. */
  get issued(): SignedDescriptor | undefined {
    return this.#issued;
  }

  /** Issues a descriptor when there is a reason to; called now and then. Never rejects: what fails is tried again. */
  async refresh(description: SelfDescription): Promise<void> {
    const { clock, descriptors, log } = this.#dependencies;
    if (this.#issuing || clock.monotonicMs() < this.#notBeforeMs) return;
    const held = descriptors.set.get(this.#nodeId);
    const isContested = this.#issued !== undefined && held !== undefined && held.text !== this.#issued.text;
    if (this.#issued !== undefined && !isContested && isSaid(this.#issued, description)) return;
    if (isContested) {
      const ours = this.#issued?.descriptor.sequence;
      log.warn('membership:contested', { ours, theirs: held.descriptor.sequence });
    }
    this.#issuing = true;
    try {
      await this.#issue(description);
      this.#notBeforeMs = clock.monotonicMs() + reissueGapMs;
    } catch (error) {
      log.warn('membership:not_issued', { error });
    } finally {
      this.#issuing = false;
    }
  }

  async #issue(description: SelfDescription): Promise<void> {
    const { kv, clock, signer, descriptors, announce } = this.#dependencies;
    const held = descriptors.set.get(this.#nodeId)?.descriptor.sequence ?? 0;
    const sequence = Math.max(this.#storedSequence(), held) + 1;
    await kv.transact((transaction) => transaction.put(sequenceKey, encodeRow({ sequence })));
    const said = { ...description, nodeId: this.#nodeId, sequence, time: Math.max(0, clock.nowMs()) };
    this.#issued = signDescriptor(said, signer, this.#cluster);
    descriptors.keep([this.#issued]);
    announce(this.#issued);
  }

  /** Where it cannot be read, the others know better: their copy of this node's descriptor raises the next one. */
  #storedSequence(): number {
    const { kv, log } = this.#dependencies;
    const row = kv.get(sequenceKey);
    if (row === undefined) return 0;
    try {
      return decodeRow<{ sequence: number }>(row, 'sequence of the descriptor').sequence;
    } catch (error) {
      log.warn('membership:sequence_unreadable', { error });
      return 0;
    }
  }
}

function isSaid({ descriptor }: SignedDescriptor, description: SelfDescription): boolean {
  const { addresses, url, labels, version } = descriptor;
  const { capacityBytes, ...wanted } = description;
  const isNear = Math.abs(descriptor.capacityBytes - capacityBytes) <= capacityShare * descriptor.capacityBytes;
  return isNear && encodeCanonical({ addresses, url, labels, version }) === encodeCanonical(wanted);
}
