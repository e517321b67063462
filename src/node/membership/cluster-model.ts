import type { ControlMember } from '../../../crdt/control/member.ts';
import type { ClusterId, NodeId, PeerId } from '../../../crdt/ids.ts';
import type { SignedDescriptor } from '../../../crdt/membership-descriptor.ts';
import type { DescriptorSet } from '../../../crdt/membership-set.ts';
import { publicKeyOf, type Signer } from '../../../crdt/signature.ts';
import type { Heartbeat } from '../../../protocols/membership/heartbeat.ts';
import type { ControlLog } from '../../control/control-log.ts';
import type { BlobStore } from '../../ports/blob-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Network } from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';
import type { Verifier } from '../../ports/verifier.ts';
import type { NodeInfo } from '../api.ts';
import type { EventBody } from '../event-log.ts';
import type { MemberDirectory } from '../member-directory.ts';
import { addressesOf, announcedAddresses } from './addresses.ts';
import { CapacityReporter } from './capacity-reporter.ts';
import { DescriptorExchange } from './descriptor-exchange.ts';
import { Descriptors } from './descriptors.ts';
import { Heartbeats } from './heartbeats.ts';
import { LivenessWatch } from './liveness-watch.ts';
import { nodeInfoOf } from './node-info.ts';
import { NodeSpace, type Space } from './node-space.ts';
import { OwnDescriptor } from './own-descriptor.ts';
import { type MembershipSettings, paceOf } from './settings.ts';

/** How often the silent are looked for, and whether a heartbeat is due, at most. */
const pulseMsMax = 1_000;
/** What a farewell gets to leave before the connections are closed. */
const farewellMs = 20;
/** Pulses to an interval when that is short. */
const pulsesPerInterval = 5;

interface Dependencies {
  readonly kv: Kv;
  readonly blobs: BlobStore;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly verifier: Verifier;
  readonly signer: Signer;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly members: MemberDirectory;
  readonly control: Pick<ControlLog, 'submit'>;
  readonly record: (event: EventBody) => void;
  /** Members can be dialled at other addresses than before, see `addressesOf`. */
  readonly moved: () => void;
  /** How far a member's clock is ahead of this one, for display; undefined when that is not known. */
  readonly clockOffsetMs: (node: NodeId) => number | undefined;
}

interface Options {
  readonly nodeId: NodeId;
  readonly cluster: ClusterId;
  /** Of the program. */
  readonly version: string;
  readonly settings: MembershipSettings;
}

/**
 * What this node knows of the mesh beside what the control log decides: what each member says of itself, and whether
 * it lives. Each node sees for itself; nothing that all of them must agree on may follow from it.
 */
export class ClusterModel {
  /** Which members live, and who wants to know when that changes. */
  readonly liveness: LivenessWatch;
  readonly #dependencies: Dependencies;
  readonly #options: Options;
  readonly #descriptors: Descriptors;
  readonly #exchange: DescriptorExchange;
  readonly #own: OwnDescriptor;
  readonly #heartbeats: Heartbeats;
  readonly #space: NodeSpace;
  readonly #reporter: CapacityReporter;
  readonly #keys = new Map<PeerId, Uint8Array>();
  #measured: Space | undefined;
  #isBusy = false;
  #isStopping = false;
  /** How late a pulse was at worst since the last heartbeat. */
  #latenessMs = 0;
  #cancelPulse: () => void = () => undefined;

  constructor(dependencies: Dependencies, options: Options) {
    const { kv, blobs, clock, random, signer, log, members, control } = dependencies;
    const { nodeId, cluster, settings } = options;
    this.#dependencies = dependencies;
    this.#options = options;
    const pace = () => paceOf(members.members.length, settings);
    const keyOf = (node: NodeId): Uint8Array | undefined => this.#keyOf(node);
    const descriptors = new Descriptors({ ...dependencies, keyOf }, cluster);
    this.#descriptors = descriptors;
    const isMember = (node: NodeId): boolean => members.byNode(node) !== undefined;
    this.#exchange = new DescriptorExchange({ ...dependencies, descriptors, isMember }, cluster);
    const announce = (signed: SignedDescriptor): void => this.#exchange.announce(signed);
    this.#own = new OwnDescriptor({ kv, clock, signer, log, descriptors, announce }, { nodeId, cluster });
    this.liveness = new LivenessWatch(dependencies, { nodeId, times: () => pace().times });
    this.#heartbeats = new Heartbeats(
      {
        ...dependencies,
        keyOf,
        descriptorOf: (node) => descriptors.set.get(node)?.descriptor.sequence ?? 0,
        heard: (heartbeat, from) => this.#heard(heartbeat, from),
      },
      { nodeId, cluster, intervalMs: () => pace().intervalMs },
    );
    const { capacityBytes } = settings;
    this.#space = new NodeSpace({ blobs, clock }, capacityBytes === undefined ? {} : { capacityBytes });
    this.#reporter = new CapacityReporter(
      {
        clock,
        random,
        log,
        self: () => members.byNode(nodeId),
        capacityBytes: () => this.#measured?.capacityBytes,
        submit: (input) => control.submit(input),
      },
      { nodeId },
    );
  }

  /** Reads what an earlier life knew, serves and listens; called once the control log is open, before the network starts. */
  async open(): Promise<void> {
    await this.#descriptors.open();
    this.#descriptors.onMoved(() => this.#dependencies.moved());
    this.#exchange.start();
    this.#heartbeats.start();
    this.liveness.start();
  }

  /** Begins to speak; called once the network runs. */
  start(): void {
    this.#schedulePulse(0);
    if (this.#options.settings.autoCapacity === true) this.#reporter.start();
  }

  /** Says farewell, while the network still runs, and writes what is known. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelPulse();
    this.#reporter.stop();
    if (this.#sendHeartbeat('stopping')) await this.#dependencies.clock.sleep(farewellMs);
    this.#heartbeats.stop();
    this.#exchange.stop();
    this.liveness.stop();
    await this.#descriptors.close();
  }

  /** The control log has other members, or says other things of them. */
  membersChanged(): void {
    this.#descriptors.prune();
    this.#heartbeats.prune();
    this.liveness.membersChanged();
  }

  /** The descriptors held here: of each member that has told of itself the newest. */
  descriptors(): DescriptorSet {
    return this.#descriptors.set;
  }

  /** The descriptor by which this process stands; undefined until it has issued one. */
  ownDescriptor(): SignedDescriptor | undefined {
    return this.#own.issued;
  }

  /** Where a member can be dialled: where it says itself that it is now, then where the control log says. */
  addressesOf(member: ControlMember): readonly string[] {
    return addressesOf(member, this.#descriptors.set);
  }

  /** Every member, as this node sees it. */
  nodes(): readonly NodeInfo[] {
    const { members, network, clock, clockOffsetMs } = this.#dependencies;
    const connected = new Set(network.connectedPeers());
    const own = this.#ownInfo();
    return members.members.map((member) =>
      nodeInfoOf(member, {
        descriptors: this.#descriptors.set,
        isConnected: connected.has(member.peerId),
        own: member.nodeId === this.#options.nodeId ? own : undefined,
        heard: this.#heartbeats.of(member.nodeId),
        state: this.liveness.stateOf(member.nodeId) ?? 'unknown',
        inStateForMs: this.liveness.inStateForMs(member.nodeId) ?? 0,
        nowMs: clock.nowMs(),
        monotonicMs: clock.monotonicMs(),
        clockOffsetMs: clockOffsetMs(member.nodeId),
      }),
    );
  }

  /** Free bytes of a member's disk, by its newest heartbeat or as measured here; undefined while nobody has said. */
  freeBytesOf(nodeId: NodeId): number | undefined {
    if (nodeId === this.#options.nodeId) return this.#measured?.freeBytes;
    return this.#heartbeats.of(nodeId)?.heartbeat.freeBytes;
  }

  #ownInfo(): { readonly space: Space | undefined; readonly load: number } {
    return { space: this.#measured, load: this.#latenessMs };
  }

  #keyOf(nodeId: NodeId): Uint8Array | undefined {
    const peerId = this.#dependencies.members.byNode(nodeId)?.peerId;
    if (peerId === undefined) return undefined;
    const known = this.#keys.get(peerId);
    if (known !== undefined) return known;
    const key = publicKeyOf(peerId);
    if (key !== undefined) this.#keys.set(peerId, key);
    return key;
  }

  #heard(heartbeat: Heartbeat, from: PeerId): void {
    this.liveness.notice(heartbeat.nodeId, heartbeat.status === 'stopping' ? 'farewell' : 'beat');
    // What somebody else holds is known only of those who can be asked.
    const author = this.#dependencies.members.byNode(heartbeat.nodeId)?.peerId;
    if (author === from) this.#exchange.heardDigest(from, heartbeat.members);
  }

  #schedulePulse(delayMs: number): void {
    const { clock } = this.#dependencies;
    const dueMs = clock.monotonicMs() + delayMs;
    this.#cancelPulse = clock.setTimer(delayMs, () => {
      this.#latenessMs = Math.max(this.#latenessMs, Math.round(clock.monotonicMs() - dueMs));
      this.liveness.look();
      if (this.#heartbeats.isDue()) void this.#beat();
      const { intervalMs } = paceOf(this.#dependencies.members.members.length, this.#options.settings);
      this.#schedulePulse(Math.min(pulseMsMax, intervalMs / pulsesPerInterval));
    });
  }

  /** Measures, issues a descriptor where that is due, and sends a heartbeat. */
  async #beat(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      this.#measured = await this.#space.measure();
      await this.#refreshOwn(this.#measured.capacityBytes);
    } catch (error) {
      this.#dependencies.log.warn('membership:not_measured', { error });
    } finally {
      this.#isBusy = false;
    }
    if (!this.#isStopping) this.#sendHeartbeat(this.#isDraining() ? 'draining' : 'ready');
  }

  async #refreshOwn(capacityBytes: number): Promise<void> {
    // Nothing is told of by who is no member yet, as far as is known here.
    if (this.#keyOf(this.#options.nodeId) === undefined || this.#isStopping) return;
    const { url = null, labels = {} } = this.#options.settings;
    const addresses = announcedAddresses(this.#dependencies.network.addresses());
    await this.#own.refresh({ addresses, url, labels, capacityBytes, version: this.#options.version });
  }

  #isDraining(): boolean {
    return this.#dependencies.members.byNode(this.#options.nodeId)?.draining === true;
  }

  /** False when there is nothing to stand by yet. */
  #sendHeartbeat(status: Heartbeat['status']): boolean {
    const descriptor = this.#own.issued?.descriptor.sequence;
    const measured = this.#measured;
    if (descriptor === undefined || measured === undefined) return false;
    const load = this.#latenessMs;
    this.#latenessMs = 0;
    this.#heartbeats.send({ ...measured, descriptor, status, load, members: this.#descriptors.digest() });
    return true;
  }
}
