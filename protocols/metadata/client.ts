import type { Channel } from '../wire/channel.ts';
import { receiveResponse, unexpectedResponse } from '../wire/requests.ts';
import {
  type ConflictsPage,
  decodeMetadataResponse,
  encodeMetadataMessage,
  type MetadataRequest,
  type MetadataResponse,
  type ObjectsPage,
} from './messages.ts';

/** What is asked about objects. */
export type ObjectsQuery = Omit<Extract<MetadataRequest, { t: 'objects' }>, 't'>;
/** What is asked about conflicts. */
export type ConflictsQuery = Omit<Extract<MetadataRequest, { t: 'conflicts' }>, 't'>;

/**
 * The asking side of the metadata protocol on one channel, one question at a time. The methods resolve with a page, or
 * with undefined when the peer does not have the slots whole, and reject with `MeshError`, `protocol_violation` when the
 * peer's answer is not one to the question.
 */
export class MetadataClient {
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  async objects(query: ObjectsQuery): Promise<ObjectsPage | undefined> {
    const response = await this.#ask({ t: 'objects', ...query });
    if (response.t === 'elsewhere') return undefined;
    if (response.t !== 'objects') throw unexpectedResponse(response);
    return response;
  }

  async conflicts(query: ConflictsQuery): Promise<ConflictsPage | undefined> {
    const response = await this.#ask({ t: 'conflicts', ...query });
    if (response.t === 'elsewhere') return undefined;
    if (response.t !== 'conflicts') throw unexpectedResponse(response);
    return response;
  }

  async #ask(request: MetadataRequest): Promise<MetadataResponse> {
    await this.#channel.send(encodeMetadataMessage(request));
    return receiveResponse(this.#channel, { protocol: 'metadata', decode: decodeMetadataResponse });
  }
}
