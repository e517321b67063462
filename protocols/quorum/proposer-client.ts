import type { PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Network } from '../../src/ports/network.ts';
import { Channel } from '../wire/channel.ts';
import { withDeadline } from '../wire/deadline.ts';
import {
  decodeQuorumResponse,
  encodeQuorumMessage,
  type QuorumRequest,
  type QuorumResponse,
  quorumProtocol,
} from './messages.ts';

/**
 * The asking side of the protocol with one peer: one question at a time over one stream that is kept open, since a
 * new one costs a round trip more. Every request may be asked again without harm.
 */
export class QuorumClient {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #peer: PeerId;
  readonly #deadlineMs: number;
  #channel: Channel | undefined;

  constructor(
    dependencies: { readonly network: Network; readonly clock: Clock },
    options: { readonly peer: PeerId; readonly deadlineMs: number },
  ) {
    this.#network = dependencies.network;
    this.#clock = dependencies.clock;
    this.#peer = options.peer;
    this.#deadlineMs = options.deadlineMs;
  }

  /**
   * The peer's answer. One call at a time. Rejects with `MeshError` (`peer_unreachable`, `stream_failed`, `timeout`,
   * `protocol_violation`) or the signal's reason; the next call starts on a new stream then.
   */
  async ask(request: QuorumRequest, signal: AbortSignal): Promise<QuorumResponse> {
    const kept = this.#channel;
    if (kept !== undefined) {
      try {
        return await this.#exchange(() => Promise.resolve(kept), request, signal);
      } catch (error) {
        // The kept stream may have ended long ago; that is noticed only now.
        if (!(error instanceof MeshError) || error.code !== 'stream_failed' || signal.aborted) throw error;
      }
    }
    return this.#exchange((ended) => this.#open(ended), request, signal);
  }

  /** Drops the stream. */
  close(reason: Error): void {
    this.#channel?.reset(reason);
    this.#channel = undefined;
  }

  async #open(signal: AbortSignal): Promise<Channel> {
    const stream = await this.#network.open(this.#peer, quorumProtocol, signal);
    const channel = new Channel(stream, { clock: this.#clock });
    if (signal.aborted) channel.reset(signal.reason as Error);
    else this.#channel = channel;
    return channel;
  }

  async #exchange(
    channelOf: (signal: AbortSignal) => Promise<Channel>,
    request: QuorumRequest,
    signal: AbortSignal,
  ): Promise<QuorumResponse> {
    try {
      return await withDeadline(
        this.#clock,
        this.#deadlineMs,
        async (ended) => {
          const channel = await channelOf(ended);
          await channel.send(encodeQuorumMessage(request));
          return readResponse(await channel.receive());
        },
        signal,
      );
    } catch (error) {
      this.close(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }
}

function readResponse(bytes: Uint8Array | null): QuorumResponse {
  if (bytes === null) throw new MeshError('stream_failed', 'the peer ended the exchange before its answer');
  const response = decodeQuorumResponse(bytes);
  if (!response.ok) throw new MeshError('protocol_violation', `unreadable quorum response: ${response.error}`);
  return response.value;
}
