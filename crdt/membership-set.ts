import { blake3, fromBase32, toBase32 } from './digest.ts';
import { err, type NodeId, ok, type Result } from './ids.ts';
import { isNewerDescriptor, isSequence, type SignedDescriptor } from './membership-descriptor.ts';

/** The descriptors a node holds: of each node one. */
export type DescriptorSet = ReadonlyMap<NodeId, SignedDescriptor>;

/** The set with each of these in it that is newer than what is there. Gives the very same set when none is. */
export function withDescriptors(set: DescriptorSet, more: Iterable<SignedDescriptor>): DescriptorSet {
  let joined: Map<NodeId, SignedDescriptor> | undefined;
  for (const signed of more) {
    const { nodeId } = signed.descriptor;
    const held = (joined ?? set).get(nodeId);
    if (held !== undefined && !isNewerDescriptor(signed, held)) continue;
    joined ??= new Map(set);
    joined.set(nodeId, signed);
  }
  return joined ?? set;
}

/** Bytes of a node id. */
const nodeIdBytes = 16;
const sequenceBytes = 8;
/** Of BLAKE3 of a descriptor's text: what tells apart two with the same sequence. */
const textDigestBytes = 8;
/** Bytes of a descriptor's stamp. */
export const stampBytes = nodeIdBytes + sequenceBytes + textDigestBytes;
/** Bytes of a set's digest. */
export const membershipDigestBytes = 16;

/** Which descriptor of which node: what two nodes compare before they fetch anything. */
export interface DescriptorStamp {
  readonly nodeId: NodeId;
  readonly sequence: number;
  /** 8 bytes of BLAKE3 of the text, in hex. */
  readonly textDigest: string;
}

/** The stamps of a set, in the order of the node ids, `stampBytes` each. */
export function packStamps(set: DescriptorSet): Uint8Array {
  const packed = Buffer.alloc(set.size * stampBytes);
  let at = 0;
  for (const nodeId of [...set.keys()].sort()) {
    const { descriptor, text } = set.get(nodeId) as SignedDescriptor;
    packed.set(fromBase32(nodeId) as Uint8Array, at);
    packed.writeBigUInt64BE(BigInt(descriptor.sequence), at + nodeIdBytes);
    packed.set(textDigestOf(text), at + nodeIdBytes + sequenceBytes);
    at += stampBytes;
  }
  return new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
}

/** Reads stamps, or says why they are none: cut short, out of order, twice, or with an impossible sequence. Never throws. */
export function unpackStamps(packed: Uint8Array): Result<readonly DescriptorStamp[], string> {
  if (packed.length % stampBytes !== 0) return err('stamps that are cut short');
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  const stamps: DescriptorStamp[] = [];
  for (let at = 0; at < bytes.length; at += stampBytes) {
    const nodeId = toBase32(bytes.subarray(at, at + nodeIdBytes)) as NodeId;
    const sequence = Number(bytes.readBigUInt64BE(at + nodeIdBytes));
    const textDigest = bytes.toString('hex', at + nodeIdBytes + sequenceBytes, at + stampBytes);
    if (!isSequence(sequence)) return err('a sequence that no descriptor has');
    if (nodeId <= (stamps.at(-1)?.nodeId ?? '')) return err('stamps out of order');
    stamps.push({ nodeId, sequence, textDigest });
  }
  return ok(stamps);
}

/** True when the descriptor that a stamp stands for may be newer than what the set holds of that node. */
export function mayBeNewer(stamp: DescriptorStamp, set: DescriptorSet): boolean {
  const held = set.get(stamp.nodeId);
  if (held === undefined) return true;
  if (stamp.sequence !== held.descriptor.sequence) return stamp.sequence > held.descriptor.sequence;
  return stamp.textDigest !== Buffer.from(textDigestOf(held.text)).toString('hex');
}

/** By which two nodes see whether they hold the same: the first 16 bytes of BLAKE3 of a tag and the stamps. */
export function membershipDigest(set: DescriptorSet): Uint8Array {
  return blake3(Buffer.concat([digestTag, packStamps(set)])).slice(0, membershipDigestBytes);
}

const digestTag = Buffer.from('anabranch/membership/1\0', 'utf8');

function textDigestOf(text: string): Uint8Array {
  return blake3(Buffer.from(text, 'utf8')).subarray(0, textDigestBytes);
}
