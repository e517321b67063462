import type { NodeId } from '../../crdt/ids.ts';
import { type DescriptorSet, membershipDigest, packStamps } from '../../crdt/membership-set.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { serveRequests } from '../wire/requests.ts';
import { descriptorsMessageBytes } from './limits.ts';
import {
  decodeMembershipRequest,
  encodeMembershipMessage,
  type MembershipRequest,
  type MembershipResponse,
} from './messages.ts';

/**
 * Answers a peer's questions about the descriptors held here on one stream, one after the other, until the peer ends
 * it. Rejects with the channel's `MeshError`; a request that cannot be read is a `protocol_violation`.
 */
export async function serveMembership(
  stream: ByteStream,
  held: () => DescriptorSet,
  dependencies: { readonly clock: Clock },
): Promise<void> {
  await serveRequests(
    stream,
    {
      protocol: 'membership',
      decode: decodeMembershipRequest,
      answer: (channel, request) => channel.send(encodeMembershipMessage(answer(held(), request))),
    },
    dependencies,
  );
}

function answer(held: DescriptorSet, request: MembershipRequest): MembershipResponse {
  if (request.t === 'fetch') return { t: 'descriptors', texts: textsOf(held, request.nodes as readonly NodeId[]) };
  if (Buffer.from(request.digest).equals(membershipDigest(held))) return { t: 'same' };
  return { t: 'stamps', stamps: packStamps(held) };
}

/** At least one when there is one, and no more than fit a message. */
function textsOf(held: DescriptorSet, nodes: readonly NodeId[]): string[] {
  const texts: string[] = [];
  let bytes = 0;
  for (const node of new Set(nodes)) {
    const text = held.get(node)?.text;
    if (text === undefined) continue;
    texts.push(text);
    bytes += Buffer.byteLength(text, 'utf8');
    if (bytes >= descriptorsMessageBytes) break;
  }
  return texts;
}
