import { z } from 'zod';
import { type ClusterId, err, type Result } from '../../crdt/ids.ts';
import type { SignedDescriptor } from '../../crdt/membership-descriptor.ts';
import { membershipDigestBytes, stampBytes } from '../../crdt/membership-set.ts';
import { isNodeId } from '../../crdt/node-name.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import { byteString } from '../wire/schemas.ts';
import { descriptorGossipBytesMax, descriptorLengthMax, descriptorsMax, gossipedDescriptorsMax } from './limits.ts';

/** The protocol's name on a libp2p stream. */
export const membershipProtocol = '/anabranch/membership/1.0.0';

const digest = byteString.refine((bytes) => bytes.length === membershipDigestBytes, 'not a digest of a membership');
const stamps = byteString.refine((bytes) => bytes.length <= descriptorsMax * stampBytes, 'more stamps than members');
const text = z.string().max(descriptorLengthMax);
const nodeId = z.string().refine(isNodeId, 'not a node id');

const request = z.discriminatedUnion('t', [
  /** Asks whether the other side holds the same descriptors. */
  z.strictObject({ t: z.literal('compare'), digest }),
  /** Asks for the descriptors of these nodes. */
  z.strictObject({ t: z.literal('fetch'), nodes: z.array(nodeId).min(1).max(descriptorsMax) }),
]);

const response = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('same') }),
  /** What the other side holds, as `packStamps` writes it. */
  z.strictObject({ t: z.literal('stamps'), stamps }),
  /** Descriptors of nodes that were asked for: the first of them, as many as fit; none when it holds none of them. */
  z.strictObject({ t: z.literal('descriptors'), texts: z.array(text).max(descriptorsMax) }),
]);

const gossip = z.strictObject({ v: z.literal(1), descriptors: z.array(text).min(1).max(gossipedDescriptorsMax) });

/** What the asking side sends. */
export type MembershipRequest = z.infer<typeof request>;
/** What the answering side sends. */
export type MembershipResponse = z.infer<typeof response>;

/** A message as CBOR. */
export function encodeMembershipMessage(message: MembershipRequest | MembershipResponse): Uint8Array {
  return encodeCbor(message);
}

/** Reads a request, or says why it is none. Never throws. */
export function decodeMembershipRequest(bytes: Uint8Array): Result<MembershipRequest, string> {
  return decodeMessage(request, bytes);
}

/** Reads a response, or says why it is none. Never throws. */
export function decodeMembershipResponse(bytes: Uint8Array): Result<MembershipResponse, string> {
  return decodeMessage(response, bytes);
}

/** The topic on which a node tells of its new descriptor. */
export function descriptorTopic(cluster: ClusterId): string {
  return `anabranch/${cluster}/membership`;
}

/** A gossip message that carries descriptors, at most `gossipedDescriptorsMax`. */
export function encodeDescriptorGossip(descriptors: readonly SignedDescriptor[]): Uint8Array {
  return encodeCbor({ v: 1, descriptors: descriptors.map((each) => each.text) });
}

/** The texts of the descriptors in a gossip message, not looked at yet; or why it is none. Never throws. */
export function decodeDescriptorGossip(bytes: Uint8Array): Result<readonly string[], string> {
  if (bytes.length > descriptorGossipBytesMax) return err(`a message of ${bytes.length} bytes`);
  const decoded = decodeMessage(gossip, bytes);
  return decoded.ok ? { ok: true, value: decoded.value.descriptors } : decoded;
}
