import type { NodeId } from '../../crdt/ids.ts';
import { decodeDescriptor, type SignedDescriptor } from '../../crdt/membership-descriptor.ts';
import { type DescriptorSet, mayBeNewer, membershipDigest, unpackStamps } from '../../crdt/membership-set.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Channel } from '../wire/channel.ts';
import { receiveResponse, unexpectedResponse } from '../wire/requests.ts';
import {
  decodeMembershipResponse,
  encodeMembershipMessage,
  type MembershipRequest,
  type MembershipResponse,
} from './messages.ts';

/** What is taken of a peer's descriptors. */
export interface DescriptorSink {
  /** What is held now. */
  readonly held: () => DescriptorSet;
  /** False for a node whose descriptor cannot be taken now, such as one that is no member as far as is known here. */
  readonly wants: (nodeId: NodeId) => boolean;
  /** Verifies and keeps descriptors; what is wrong with one that can never be valid, if any is. */
  readonly take: (signed: readonly SignedDescriptor[]) => Promise<string | undefined>;
}

/**
 * Pulls from a peer the descriptors that it holds and this node does not, or only older ones. Resolves with how many
 * came. Rejects with `MeshError`, `protocol_violation` when an answer is not one to the question or does not hold.
 */
export async function pullDescriptors(channel: Channel, sink: DescriptorSink): Promise<number> {
  const wanted = await compare(channel, sink);
  let pulled = 0;
  while (wanted.size > 0) {
    const answer = await ask(channel, { t: 'fetch', nodes: [...wanted] });
    if (answer.t !== 'descriptors') throw unexpectedResponse(answer);
    // What the peer holds no longer it need not give. Each turn leaves fewer to ask for, or is the last one.
    if (answer.texts.length === 0) break;
    const signed = answer.texts.map((text) => read(text, wanted));
    const fault = await sink.take(signed);
    if (fault !== undefined) throw violation(fault);
    pulled += signed.length;
  }
  return pulled;
}

/** The nodes of which the peer may have a newer descriptor. */
async function compare(channel: Channel, { held, wants }: DescriptorSink): Promise<Set<NodeId>> {
  const answer = await ask(channel, { t: 'compare', digest: membershipDigest(held()) });
  if (answer.t === 'same') return new Set();
  if (answer.t !== 'stamps') throw unexpectedResponse(answer);
  const stamps = unpackStamps(answer.stamps);
  if (!stamps.ok) throw violation(stamps.error);
  const set = held();
  const newer = stamps.value.filter((stamp) => wants(stamp.nodeId) && mayBeNewer(stamp, set));
  return new Set(newer.map(({ nodeId }) => nodeId));
}

function read(text: string, wanted: Set<NodeId>): SignedDescriptor {
  const decoded = decodeDescriptor(text);
  if (!decoded.ok) throw violation(decoded.error);
  if (!wanted.delete(decoded.value.descriptor.nodeId)) throw violation('one that was not asked for');
  return decoded.value;
}

async function ask(channel: Channel, request: MembershipRequest): Promise<MembershipResponse> {
  await channel.send(encodeMembershipMessage(request));
  return receiveResponse(channel, { protocol: 'membership', decode: decodeMembershipResponse });
}

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', `a descriptor of the peer's does not hold: ${message}`);
}
