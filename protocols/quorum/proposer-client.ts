import type { PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Network } from '../../src/ports/network.ts';
import { KeptChannel } from '../wire/kept-channel.ts';
import { receiveResponse } from '../wire/requests.ts';
import {
  decodeQuorumResponse,
  encodeQuorumMessage,
  type QuorumRequest,
  type QuorumResponse,
  quorumProtocol,
} from './messages.ts';

/** The asking side of the protocol with one peer, one question at a time. Every request may be asked again without harm. */
export class QuorumClient {
  readonly #kept: KeptChannel;

  constructor(
    dependencies: { readonly network: Network; readonly clock: Clock },
    options: { readonly peer: PeerId; readonly deadlineMs: number },
  ) {
    this.#kept = new KeptChannel(dependencies, { ...options, protocol: quorumProtocol });
  }

  /** The peer's answer. Rejects as `KeptChannel.use` does, or with `protocol_violation`. */
  ask(request: QuorumRequest, signal: AbortSignal): Promise<QuorumResponse> {
    return this.#kept.use(async (channel) => {
      await channel.send(encodeQuorumMessage(request));
      return receiveResponse(channel, { protocol: 'quorum', decode: decodeQuorumResponse });
    }, signal);
  }

  /** Drops the stream. */
  close(reason: Error): void {
    this.#kept.close(reason);
  }
}
