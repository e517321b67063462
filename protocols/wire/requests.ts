import type { Result } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { Channel } from './channel.ts';

/** Reads a message, or says why it is none. Never throws. */
type Decode<Message> = (bytes: Uint8Array) => Result<Message, string>;

/** What the answering side of a protocol of questions and answers does. */
export interface RequestHandler<Request> {
  /** The protocol's name in error messages. */
  readonly protocol: string;
  readonly decode: Decode<Request>;
  /** Sends the whole answer. */
  readonly answer: (channel: Channel, request: Request) => Promise<void>;
}

/**
 * Answers a peer's requests on one stream, one after the other, until the peer ends it. Rejects with the channel's
 * `MeshError`; a request that cannot be read is a `protocol_violation`.
 */
export async function serveRequests<Request>(
  stream: ByteStream,
  { protocol, decode, answer }: RequestHandler<Request>,
  dependencies: { readonly clock: Clock },
): Promise<void> {
  const channel = new Channel(stream, dependencies);
  for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
    const request = decode(bytes);
    if (!request.ok) {
      const violation = new MeshError('protocol_violation', `unreadable ${protocol} request: ${request.error}`);
      channel.reset(violation);
      throw violation;
    }
    await answer(channel, request.value);
  }
  await channel.end();
}

/** The next message of an answer. Rejects with `MeshError`: `stream_failed` at the stream's end, `protocol_violation`. */
export async function receiveResponse<Response>(
  channel: Channel,
  { protocol, decode }: { readonly protocol: string; readonly decode: Decode<Response> },
): Promise<Response> {
  const bytes = await channel.receive();
  if (bytes === null) throw new MeshError('stream_failed', 'the peer ended the exchange before its answer');
  const response = decode(bytes);
  if (!response.ok) {
    throw new MeshError('protocol_violation', `unreadable ${protocol} response: ${response.error}`);
  }
  return response.value;
}

/** The fault of a peer whose answer is not one to the question. */
export function unexpectedResponse({ t }: { readonly t: string }): MeshError {
  return new MeshError('protocol_violation', `a '${t}' message does not answer the question`);
}
