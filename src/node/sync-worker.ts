import type { DocId, NodeId, PeerId } from '../../crdt/ids.ts';
import type { SlotSet } from '../../crdt/slot-set.ts';
import { type FollowedFeed, SyncClient, type SyncSink } from '../../protocols/sync/client.ts';
import { syncProtocol } from '../../protocols/sync/messages.ts';
import { serveSync } from '../../protocols/sync/server.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import { withDeadline } from '../../protocols/wire/deadline.ts';
import type { ControlLog } from '../control/control-log.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Network } from '../ports/network.ts';
import type { Random } from '../ports/random.ts';
import { changeFeed } from './change-feed.ts';
import type { Certificates } from './confirmation/certificates.ts';
import { CountedStream } from './counted-stream.ts';
import type { ObjectStore } from './object-store.ts';
import type { PropagationMonitor } from './propagation.ts';
import type { IntakeReport, RecordIntake } from './record-intake.ts';
import type { SlotDuties } from './slots/slot-duties.ts';
import type { SlotHoldings } from './slots/slot-holdings.ts';
import { SyncMetrics, type SyncTally } from './sync-metrics.ts';
import { syncSink } from './sync-sink.ts';
import type { SyncView } from './sync-view.ts';

export interface SyncOptions {
  /** Mean time between rounds with a connected peer; each is drawn from half to one and a half of it. */
  readonly intervalMs: number;
}

const connectDelayMsMax = 50;
const gapDelayMs = 10;
/** What is owed to holders waits so long for company, and for gossip to have brought it already. */
const dutyDelayMs = 300;
/** A holder that lacked something gets so long to fetch it before it is asked again. */
const lackingDelayMs = 1_000;
const roundDeadlineMs = 10 * 60_000;
const roundsAtOnceMax = 4;
const gapsKeptMax = 10_000;
const inboundStreamsMax = 8;
const backoffMsMin = 500;
const backoffMsMax = 60_000;
/** A peer that sent what can never be valid waits at least this long for the next round. */
const faultBackoffMs = 30_000;

/**
 * What the next round is to do beside the gaps: follow the peer's feed, which costs what changed and is the usual
 * case after a reconnect; or compare ranges, which costs what differs, and finds whatever feed and hints have missed;
 * or both, the feed first, where much may have been missed.
 */
type Due = 'nothing' | 'feed' | 'ranges' | 'both';

/** What rounds are counted as. */
const kinds = { nothing: 'gaps', feed: 'feed', ranges: 'ranges', both: 'ranges' } as const;

interface PeerSync {
  /** Documents that a hint or an orphaned record told of. */
  readonly gaps: Set<DocId>;
  due: Due;
  running: boolean;
  failures: number;
  notBeforeMs: number;
  cancelTimer: () => void;
  /** Of the question whether the peer has by now what it lacked. */
  cancelComeBack: () => void;
  /** The slots that the peer said it keeps; undefined before it has. */
  kept: SlotSet | undefined;
}

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly kv: Kv;
  readonly objects: ObjectStore;
  readonly view: SyncView;
  readonly intake: RecordIntake;
  readonly propagation: PropagationMonitor;
  readonly certificates: Pick<Certificates, 'receive'>;
  readonly control: Pick<ControlLog, 'follow'>;
  readonly slots: SlotHoldings;
  readonly duties: Pick<SlotDuties, 'owes' | 'carryOut'>;
  readonly nodeOf: (peer: PeerId) => NodeId | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * When to ask which peer for what: its feed at connect, everything on a jittered timer, single documents when a
 * hint shows a gap. Never two rounds with one peer at once, a bounded number in all, and backoff after
 * failures. Each side pulls for itself.
 */
export class SyncWorker {
  readonly #dependencies: Dependencies;
  readonly #options: SyncOptions;
  readonly #peers = new Map<PeerId, PeerSync>();
  readonly #stopping = new AbortController();
  readonly #metrics: SyncMetrics;
  readonly #unsubscribers: (() => void)[] = [];
  #cancelDuties: (() => void) | undefined;
  #running = 0;

  constructor(dependencies: Dependencies, options: SyncOptions) {
    this.#dependencies = dependencies;
    this.#options = options;
    this.#metrics = new SyncMetrics(dependencies.metrics);
  }

  start(): void {
    const { network, view, clock, slots } = this.#dependencies;
    const lacking = (peer: PeerId, docs: readonly DocId[]): void => this.requestDocuments(peer, docs);
    network.handle(syncProtocol, (stream) => serveSync(stream, view, { clock, lacking }), { inboundStreamsMax });
    const unsubscribe = network.onPeerChange(({ kind, peer }) => {
      if (kind === 'connected') this.#join(peer);
      else this.#leave(peer);
    });
    // What was gained is nowhere in the feeds from where they were followed to, and what was lost is to be handed over.
    this.#unsubscribers.push(
      unsubscribe,
      slots.onChange(() => this.#hurry((sync) => (sync.due = 'both'))),
    );
    for (const peer of network.connectedPeers()) this.#join(peer);
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
    this.#cancelDuties?.();
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    for (const peer of [...this.#peers.keys()]) this.#leave(peer);
  }

  /** Asks a peer for documents that it was heard to have more of. */
  requestDocuments(peer: PeerId, docs: Iterable<DocId>): void {
    const sync = this.#peers.get(peer);
    if (sync === undefined) return;
    for (const doc of docs) {
      // Past the bound a whole round finds the same and more.
      if (sync.gaps.size >= gapsKeptMax) sync.due = 'both';
      else sync.gaps.add(doc);
    }
    if (!sync.running) this.#schedule(peer, sync, gapDelayMs);
  }

  /** Something is owed to the holders of a slot: those that are connected are told soon. */
  dutiesArose(): void {
    if (this.#stopping.signal.aborted) return;
    this.#cancelDuties ??= this.#dependencies.clock.setTimer(dutyDelayMs, () => {
      this.#cancelDuties = undefined;
      this.#hurry((sync, peer) => {
        if (sync.due === 'nothing' && this.#owes(peer)) sync.due = 'feed';
      });
    });
  }

  /** Marks what is due with peers, and sees to it soon. */
  #hurry(mark: (sync: PeerSync, peer: PeerId) => void): void {
    for (const [peer, sync] of this.#peers) {
      mark(sync, peer);
      if (sync.due === 'nothing' || sync.running) continue;
      this.#schedule(peer, sync, connectDelayMsMax * this.#dependencies.random.fraction());
    }
  }

  #owes(peer: PeerId): boolean {
    const node = this.#dependencies.nodeOf(peer);
    return node !== undefined && this.#dependencies.duties.owes(node);
  }

  /**
   * True when rounds with the peer can bring anything: it keeps a slot that this node keeps, by its own word or by the
   * control log as it is here, or it is owed something. So every slot has all its holders for partners.
   */
  #isPartner(peer: PeerId, sync: PeerSync): boolean {
    const { slots, nodeOf } = this.#dependencies;
    if (slots.isEverything || sync.kept === undefined || sync.kept.and(slots.kept).size > 0) return true;
    const node = nodeOf(peer);
    return node !== undefined && (slots.placement.slotsOf(node).and(slots.kept).size > 0 || this.#owes(peer));
  }

  #join(peer: PeerId): void {
    if (this.#peers.has(peer)) return;
    const sync: PeerSync = {
      gaps: new Set(),
      due: 'feed',
      running: false,
      failures: 0,
      notBeforeMs: 0,
      cancelTimer: () => undefined,
      cancelComeBack: () => undefined,
      kept: undefined,
    };
    this.#peers.set(peer, sync);
    this.#schedule(peer, sync, connectDelayMsMax * this.#dependencies.random.fraction());
  }

  #leave(peer: PeerId): void {
    const sync = this.#peers.get(peer);
    this.#peers.delete(peer);
    sync?.cancelTimer();
    sync?.cancelComeBack();
  }

  #schedule(peer: PeerId, sync: PeerSync, delayMs: number): void {
    const { clock } = this.#dependencies;
    const backoffMs = sync.notBeforeMs - clock.monotonicMs();
    sync.cancelTimer();
    sync.cancelTimer = clock.setTimer(Math.max(delayMs, backoffMs), () => void this.#turn(peer, sync));
  }

  async #turn(peer: PeerId, sync: PeerSync): Promise<void> {
    if (this.#peers.get(peer) !== sync || sync.running) return;
    const isCalledFor = sync.due !== 'nothing' || sync.gaps.size > 0;
    if (!isCalledFor && !this.#isPartner(peer, sync)) {
      this.#schedule(peer, sync, this.#nextDelayMs(sync));
      return;
    }
    if (this.#running >= roundsAtOnceMax) {
      this.#schedule(peer, sync, connectDelayMsMax * (0.5 + this.#dependencies.random.fraction()));
      return;
    }
    this.#running += 1;
    sync.running = true;
    const gaps = [...sync.gaps];
    // A turn that nothing called for is the timer's.
    const due = isCalledFor ? sync.due : 'ranges';
    sync.gaps.clear();
    sync.due = 'nothing';
    const tally: SyncTally = { kind: kinds[due], bytes: 0, round: undefined };
    try {
      await this.#pull(peer, sync, { due, gaps, tally });
      sync.failures = 0;
      this.#metrics.ended('complete', tally);
      const { round } = tally;
      if (round !== undefined && round.recordsReceived > 0) {
        this.#dependencies.log.debug('sync:completed', { peer, bytes: tally.bytes, ...round });
      }
    } catch (error) {
      this.#failed(peer, sync, tally, error);
    }
    this.#running -= 1;
    sync.running = false;
    if (this.#peers.get(peer) === sync) this.#schedule(peer, sync, this.#nextDelayMs(sync));
  }

  #nextDelayMs(sync: PeerSync): number {
    if (sync.gaps.size > 0) return gapDelayMs;
    if (sync.due !== 'nothing') return 0;
    return this.#options.intervalMs * (0.5 + this.#dependencies.random.fraction());
  }

  #failed(peer: PeerId, sync: PeerSync, tally: SyncTally, error: unknown): void {
    if (this.#stopping.signal.aborted) return;
    const { clock, random, log } = this.#dependencies;
    const code = error instanceof MeshError ? error.code : 'io_error';
    sync.failures += 1;
    sync.due = 'both';
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(sync.failures, 10));
    const floorMs = code === 'protocol_violation' ? faultBackoffMs : 0;
    sync.notBeforeMs = clock.monotonicMs() + Math.max(floorMs, backoffMs * (0.5 + random.fraction()));
    this.#metrics.ended(code, tally);
    // A connection that goes away is everyday; a peer that breaks the protocol is not.
    const level = code === 'protocol_violation' ? 'warn' : 'debug';
    log[level]('sync:failed', { peer, code, failures: sync.failures, error });
  }

  #pull(
    peer: PeerId,
    sync: PeerSync,
    { due, gaps, tally }: { readonly due: Due; readonly gaps: readonly DocId[]; readonly tally: SyncTally },
  ): Promise<void> {
    const { network, clock, intake, objects } = this.#dependencies;
    return withDeadline(
      clock,
      roundDeadlineMs,
      async (signal) => {
        if (due !== 'nothing') await this.#followLog(peer);
        const stream = new CountedStream(await network.open(peer, syncProtocol, signal), (sentBytes, receivedBytes) => {
          tally.bytes += sentBytes + receivedBytes;
        });
        const channel = new Channel(stream, { clock }, { signal });
        try {
          const client = new SyncClient(
            channel,
            this.#sink(peer, (texts, contents) => intake.receive(texts, peer, contents)),
          );
          tally.round = client.round;
          if (objects.damaged().length > 0) await this.#repair(channel, peer);
          await client.pullDocuments(gaps);
          if (due !== 'nothing') {
            const followed = await this.#catchUp(client, peer, due);
            sync.kept = followed.kept;
            if (await this.#carryOut(client, peer, followed.kept)) this.#comeBack(peer, sync);
          }
          await channel.end();
        } catch (error) {
          channel.reset(error instanceof Error ? error : new Error(String(error)));
          throw error;
        }
      },
      this.#stopping.signal,
    );
  }

  /**
   * Who may write what is decided by the control log, so a peer's comes before its documents. One that has none to
   * give may have documents all the same.
   */
  async #followLog(peer: PeerId): Promise<void> {
    const { control, log } = this.#dependencies;
    try {
      await control.follow(peer);
    } catch (error) {
      if (error instanceof MeshError && error.code === 'protocol_violation') throw error;
      log.debug('sync:without_control_log', { peer, error });
    }
  }

  async #catchUp(client: SyncClient, peer: PeerId, due: Due): Promise<FollowedFeed> {
    const { kv, slots, nodeOf } = this.#dependencies;
    const cursor = changeFeed.cursor(kv, peer);
    // Ranges find whatever the feed has, and sooner where gossip has brought it: of the feed only the end is asked then.
    const followed = await client.pullFeed(due === 'ranges' ? undefined : cursor);
    const { complete, position } = followed;
    const shared = slots.kept.and(followed.kept);
    const isGaining = !slots.isEverything && shared.minus(slots.whole).size > 0;
    if (due === 'both' || !complete || isGaining) {
      await client.pullSlots(shared.list());
      const node = nodeOf(peer);
      if (node !== undefined) slots.compared(node, shared, followed.whole);
    }
    // Only now is everything up to there here.
    if (cursor?.feed === position.feed && cursor.change === position.change) return followed;
    await kv.transact((transaction) => changeFeed.setCursor(transaction, peer, position));
    return followed;
  }

  async #carryOut(client: SyncClient, peer: PeerId, kept: SlotSet): Promise<boolean> {
    const node = this.#dependencies.nodeOf(peer);
    return node !== undefined && (await this.#dependencies.duties.carryOut(client, node, kept));
  }

  /** The peer is fetching what it lacked; it is asked again whether it has it. */
  #comeBack(peer: PeerId, sync: PeerSync): void {
    if (this.#peers.get(peer) !== sync) return;
    sync.cancelComeBack();
    sync.cancelComeBack = this.#dependencies.clock.setTimer(lackingDelayMs, () => {
      if (sync.due !== 'nothing') return;
      sync.due = 'feed';
      if (!sync.running) this.#schedule(peer, sync, 0);
    });
  }

  /** Fetches the records whose stored text was found damaged. */
  async #repair(channel: Channel, peer: PeerId): Promise<void> {
    const { intake, objects } = this.#dependencies;
    const client = new SyncClient(
      channel,
      this.#sink(peer, (texts) => intake.repair(texts, peer)),
    );
    await client.fetchVersions(objects.damaged());
  }

  #sink(
    peer: PeerId,
    take: (texts: readonly Uint8Array[], contents: readonly Uint8Array[]) => Promise<IntakeReport>,
  ): SyncSink {
    return syncSink(this.#dependencies, peer, take);
  }
}
