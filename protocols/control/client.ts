import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Channel } from '../wire/channel.ts';
import { receiveResponse, unexpectedResponse } from '../wire/requests.ts';
import {
  type CarryReport,
  type ControlRequest,
  type ControlResponse,
  decodeControlResponse,
  encodeControlMessage,
  type LogTip,
} from './messages.ts';

/** A page of a peer's log. Nothing in it is verified yet. */
export interface LogPage {
  readonly tip: LogTip;
  readonly lines: readonly string[];
}

/**
 * The asking side of the control protocol on one channel, one question at a time. Every method rejects with
 * `MeshError`, `protocol_violation` when the peer's answer is not one to the question.
 */
export class ControlClient {
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** The lines of the first certified entries after a position, and where the peer's log ends. */
  async entriesAfter(after: number): Promise<LogPage> {
    const response = await this.#ask({ t: 'entries', after });
    if (response.t !== 'entries') throw unexpectedResponse(response);
    if (response.lines.length === 0 && response.tip.seq > after) {
      const message = `its log ends at entry ${response.tip.seq}, and it gives none after entry ${after}`;
      throw new MeshError('protocol_violation', message);
    }
    return response;
  }

  /** The text of a proposed entry, unverified; undefined when the peer has none of that hash. */
  async candidate(hash: string): Promise<string | undefined> {
    const response = await this.#ask({ t: 'candidate', hash });
    if (response.t !== 'candidate') throw unexpectedResponse(response);
    return response.text ?? undefined;
  }

  /** Tells the peer where our log ends, and learns where its own does. */
  async tell(tip: LogTip): Promise<LogTip> {
    const response = await this.#ask({ t: 'tip', tip });
    if (response.t !== 'tip') throw unexpectedResponse(response);
    return response.tip;
  }

  /** How far the peer has carried the registers over; undefined when it is no coordinator. */
  async carryOver(): Promise<CarryReport | undefined> {
    const response = await this.#ask({ t: 'carry' });
    if (response.t !== 'carry') throw unexpectedResponse(response);
    return response.carry ?? undefined;
  }

  async #ask(request: ControlRequest): Promise<ControlResponse> {
    await this.#channel.send(encodeControlMessage(request));
    return receiveResponse(this.#channel, { protocol: 'control', decode: decodeControlResponse });
  }
}
