import { type CertifiedEntry, decodeLogLine, encodeLogLine } from '../../crdt/control/checkpoint.ts';
import type { PeerId } from '../../crdt/ids.ts';
import { ControlClient } from '../../protocols/control/client.ts';
import { type CarryReport, controlProtocol, type LogTip } from '../../protocols/control/messages.ts';
import { type ControlSource, serveControl } from '../../protocols/control/server.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import { withDeadline } from '../../protocols/wire/deadline.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Network } from '../ports/network.ts';
import type { AppendRefusal, ControlStore } from './control-store.ts';
import { ForkSearch, type LogFork } from './fork-search.ts';

/** One question and its answer: a page of a log at most. */
const exchangeDeadlineMs = 10_000;
/** The same where somebody waits for nothing but a number. */
const reportDeadlineMs = 2_000;
/** How long those who were put out stay connected to learn it: longer than some round trips around the world take. */
const partingMsMax = 1_000;
/** Peers that are told of a new entry at once. */
const tellingAtOnceMax = 16;
const inboundStreamsMax = 8;

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: ControlStore;
  /** How far this node has carried the registers over; null when it does not vote. */
  readonly carryOver: () => CarryReport | null;
}

/**
 * Keeps the control log the same on every node: takes from a peer what it has more of, entry by entry once each has
 * been verified, and tells the others where the log ends whenever it has grown. A telling that is lost costs time
 * only, since each sync round with a peer starts with its log.
 */
export class LogExchange {
  readonly #dependencies: Dependencies;
  readonly #stopping = new AbortController();
  readonly #following = new Map<PeerId, Promise<void>>();
  /** How far each connected peer's log is known to go. */
  readonly #known = new Map<PeerId, number>();
  /** The same by their own words. */
  readonly #said = new Map<PeerId, number>();
  /** Those who wait for what others say. */
  readonly #waiting = new Set<() => void>();
  readonly #telling = new Set<PeerId>();
  readonly #unsubscribers: (() => void)[] = [];
  readonly #forks: ForkSearch;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#forks = new ForkSearch({
      ...dependencies,
      linesAfter: async (peer, after) => this.fetchEntries(peer, after, this.#stopping.signal),
    });
  }

  /** Two certified entries of one place, once a peer has shown another than the one that is here. */
  get fork(): LogFork | undefined {
    return this.#forks.found;
  }

  /** Serves the protocol, and tells of what is appended from now on. Called before the network starts. */
  start(): void {
    const { network, clock, store } = this.#dependencies;
    const source: ControlSource = {
      tip: () => this.#tip(),
      linesAfter: (seq, limit) => linesAfter(store, seq, limit),
      candidate: (hash) => store.candidates.get(hash)?.text,
      heardTip: (peer, tip) => this.#heard(peer, tip),
      carryOver: () => this.#dependencies.carryOver(),
    };
    network.handle(controlProtocol, (stream) => serveControl(stream, source, { clock }), { inboundStreamsMax });
    this.#unsubscribers.push(
      store.onAppended(() => this.#tellAll()),
      network.onPeerChange(({ kind, peer }) => {
        this.#known.delete(peer);
        this.#said.delete(peer);
        this.#wake();
        // Who has just been admitted may be the only one that knows it.
        if (kind === 'connected') this.#tellAll();
      }),
    );
  }

  stop(): void {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
    this.#wake();
  }

  /**
   * Takes the entries that a peer has more than this node. Resolves when its log is here. Rejects with `MeshError`:
   * `protocol_violation` when what it sent does not hold, and then nothing of that is kept.
   */
  follow(peer: PeerId): Promise<void> {
    const running = this.#following.get(peer);
    if (running !== undefined) return running;
    const following = this.#follow(peer).finally(() => this.#following.delete(peer));
    this.#following.set(peer, following);
    return following;
  }

  /** The same for when nobody waits: what goes wrong is in the log. */
  followLater(peer: PeerId): void {
    this.follow(peer).catch((error: unknown) => {
      if (this.#stopping.signal.aborted) return;
      const level = error instanceof MeshError && error.code === 'protocol_violation' ? 'warn' : 'debug';
      this.#dependencies.log[level]('control:not_followed', { peer, error });
    });
  }

  /**
   * Waits until these peers have said that their logs go as far as this one does, for a moment at most; whoever goes
   * away is not waited for. They are told of every entry as all are, and ask for it by themselves.
   */
  async part(peers: readonly PeerId[]): Promise<void> {
    const { network, clock, store } = this.#dependencies;
    const { seq } = store.state();
    let isOver = false;
    const cancel = clock.setTimer(partingMsMax, () => {
      isOver = true;
      this.#wake();
    });
    const lacks = (peer: PeerId): boolean =>
      (this.#said.get(peer) ?? 0) < seq && network.connectedPeers().includes(peer);
    while (!isOver && !this.#stopping.signal.aborted && peers.some(lacks)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    cancel();
  }

  /** How far a peer has carried the registers over; undefined when it is no coordinator. */
  carryOverOf(peer: PeerId): Promise<CarryReport | undefined> {
    return this.#exchange(peer, (client) => client.carryOver(), this.#stopping.signal, reportDeadlineMs);
  }

  /** Lines of a peer's certified entries after a position, unverified. */
  async fetchEntries(peer: PeerId, after: number, signal: AbortSignal): Promise<readonly string[]> {
    const { lines } = await this.#exchange(peer, (client) => client.entriesAfter(after), signal);
    return lines;
  }

  /** The text of an entry that a peer proposes, unverified. */
  fetchCandidate(peer: PeerId, hash: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#exchange(peer, (client) => client.candidate(hash), signal);
  }

  async #follow(peer: PeerId): Promise<void> {
    const { store } = this.#dependencies;
    for (;;) {
      const before = store.state().seq;
      const { tip, lines } = await this.#exchange(peer, (client) => client.entriesAfter(before));
      this.#note(peer, tip);
      if (lines.length === 0) return;
      await this.#append(peer, lines);
      const { seq } = store.state();
      if (seq >= tip.seq) return;
      // Each turn gets further or is the last one.
      if (seq === before) throw violation('its entries do not go on');
    }
  }

  async #append(peer: PeerId, lines: readonly string[]): Promise<void> {
    const { store, log } = this.#dependencies;
    const entries: CertifiedEntry[] = [];
    for (const line of lines) {
      const decoded = decodeLogLine(line);
      if (!decoded.ok) throw violation(`an entry that cannot be read: ${decoded.error}`);
      entries.push(decoded.value);
    }
    const appended = await store.append(entries);
    if (appended.ok) return;
    // What does not follow may be certified all the same: then it follows something else than what is here.
    void this.#forks.look(peer, store.state().seq);
    tellRefusal(log, peer, appended.error);
    throw violation(appended.error.message);
  }

  #heard(peer: PeerId, tip: LogTip): void {
    this.#note(peer, tip);
    if (tip.seq > this.#dependencies.store.state().seq) this.followLater(peer);
  }

  #note(peer: PeerId, { seq, hash }: LogTip): void {
    this.#known.set(peer, seq);
    this.#said.set(peer, seq);
    this.#wake();
    void this.#forks.compare(peer, { seq, hash });
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  #tip(): LogTip {
    const { seq, hash } = this.#dependencies.store.state();
    return { seq, hash };
  }

  #tellAll(): void {
    const { network, store } = this.#dependencies;
    const { seq } = store.state();
    for (const peer of network.connectedPeers()) {
      if (this.#telling.size >= tellingAtOnceMax) return;
      if (this.#telling.has(peer) || (this.#known.get(peer) ?? 0) >= seq) continue;
      this.#telling.add(peer);
      void this.#tell(peer, seq);
    }
  }

  async #tell(peer: PeerId, seq: number): Promise<void> {
    try {
      const tip = await this.#exchange(peer, (client) => client.tell(this.#tip()));
      this.#note(peer, tip);
      // It has been told, so what it lacks it asks for by itself.
      this.#known.set(peer, Math.max(seq, tip.seq));
      if (tip.seq > this.#dependencies.store.state().seq) this.followLater(peer);
    } catch (error) {
      // Not told again until it is connected anew, or the log grows: its sync rounds bring it the rest.
      this.#known.set(peer, seq);
      if (!this.#stopping.signal.aborted) this.#dependencies.log.debug('control:not_told', { peer, error });
    }
    this.#telling.delete(peer);
    if (!this.#stopping.signal.aborted) this.#tellAll();
  }

  #exchange<T>(
    peer: PeerId,
    ask: (client: ControlClient) => Promise<T>,
    parent: AbortSignal = this.#stopping.signal,
    deadlineMs = exchangeDeadlineMs,
  ): Promise<T> {
    const { network, clock } = this.#dependencies;
    return withDeadline(
      clock,
      deadlineMs,
      async (signal) => {
        const channel = new Channel(await network.open(peer, controlProtocol, signal), { clock }, { signal });
        try {
          const answer = await ask(new ControlClient(channel));
          await channel.end();
          return answer;
        } catch (error) {
          channel.reset(error instanceof Error ? error : new Error(String(error)));
          throw error;
        }
      },
      parent,
    );
  }
}

/** Read a few at a time, since an answer takes only as many as fit a message. */
function* linesAfter(store: ControlStore, seq: number, limit: number): Generator<string> {
  const step = 16;
  for (let after = seq, left = limit; left > 0; left -= step) {
    const entries = store.entriesAfter(after, Math.min(step, left));
    yield* entries.map(encodeLogLine);
    if (entries.length < step) return;
    after += entries.length;
  }
}

function tellRefusal(log: Log, peer: PeerId, refusal: AppendRefusal): void {
  const event = refusal.code === 'forked' ? 'control:forked' : 'control:refused';
  log.error(event, { peer, code: refusal.code, reason: refusal.message });
}

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', `the peer's control log does not hold: ${message}`);
}
