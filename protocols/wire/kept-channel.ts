import type { PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Network } from '../../src/ports/network.ts';
import { Channel } from './channel.ts';
import { withDeadline } from './deadline.ts';

/** Whom a kept channel leads to. */
export interface KeptChannelOptions {
  readonly peer: PeerId;
  /** The protocol's name on a libp2p stream. */
  readonly protocol: string;
  /** How long one conversation may take. */
  readonly deadlineMs: number;
}

/** A stream to a peer that is kept open between conversations, since a new one costs a round trip more. */
export class KeptChannel {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #options: KeptChannelOptions;
  #channel: Channel | undefined;

  constructor(dependencies: { readonly network: Network; readonly clock: Clock }, options: KeptChannelOptions) {
    this.#network = dependencies.network;
    this.#clock = dependencies.clock;
    this.#options = options;
  }

  /**
   * Holds a conversation, one at a time; it may be begun a second time when the kept stream turns out to have ended, so
   * repeating it must do no harm. Rejects with `MeshError` (`peer_unreachable`, `stream_failed`, `timeout`, or what the
   * conversation rejects with) or the signal's reason; the next one starts on a new stream then.
   */
  async use<T>(converse: (channel: Channel) => Promise<T>, signal: AbortSignal): Promise<T> {
    const isKept = this.#channel !== undefined;
    try {
      return await this.#once(converse, signal);
    } catch (error) {
      // The kept stream may have ended long ago; that is noticed only now.
      const isStale = isKept && error instanceof MeshError && error.code === 'stream_failed';
      if (!isStale || signal.aborted) throw error;
    }
    return this.#once(converse, signal);
  }

  /** Drops the stream. */
  close(reason: Error): void {
    this.#channel?.reset(reason);
    this.#channel = undefined;
  }

  async #once<T>(converse: (channel: Channel) => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await withDeadline(
        this.#clock,
        this.#options.deadlineMs,
        async (ended) => {
          this.#channel ??= await this.#open(ended);
          return converse(this.#channel);
        },
        signal,
      );
    } catch (error) {
      this.close(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  async #open(signal: AbortSignal): Promise<Channel> {
    const { peer, protocol } = this.#options;
    const channel = new Channel(await this.#network.open(peer, protocol, signal), { clock: this.#clock });
    if (signal.aborted) {
      channel.reset(signal.reason as Error);
      throw signal.reason;
    }
    return channel;
  }
}
