import { z } from 'zod';
import type { Result } from '../../crdt/ids.ts';
import { rangesMax } from '../../crdt/reconcile.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import {
  changeNumberSchema,
  feedNameSchema,
  packedAnswerSchema,
  packedItemsSchema,
  packedRangeSchema,
} from '../wire/item-sets.ts';
import { rawHashSchema as hash } from '../wire/schemas.ts';
import { keySchema as key, nodeIdSchema as nodeId, nsSchema as ns, countSchema as sizeBytes } from './fields.ts';
import { challengesMax, checksMax, leaseMsMax, orderHoldersMax, ordersMax, pointsMax } from './limits.ts';
import { viewRequests, viewResponses } from './view-messages.ts';

/** Byte offsets in the content, ascending: the chunks that have them are asked for. */
const points = z
  .array(sizeBytes)
  .min(1)
  .max(pointsMax)
  .refine((list) => list.every((point, at) => at === 0 || (list[at - 1] as number) < point), 'not ascending');

const request = z.discriminatedUnion('t', [
  /** Asks for what changed in the inventory after a number of its feed. */
  z.strictObject({ t: z.literal('feed'), feed: feedNameSchema.nullable(), after: changeNumberSchema }),
  /** Asks which ranges of the inventory differ, and what is in those that do. */
  z.strictObject({ t: z.literal('ranges'), ranges: z.array(packedRangeSchema).min(1).max(rangesMax) }),
  /**
   * Asks for proofs that contents are here: of the chunks at some points, or of every chunk when `points` is left out.
   * With `lease` the answerer binds itself not to drop what it proves for so many milliseconds.
   */
  z
    .strictObject({
      t: z.literal('prove'),
      nonce: hash,
      lease: z.int().min(1).max(leaseMsMax).optional(),
      items: z
        .array(z.strictObject({ manifest: hash, points: points.optional() }))
        .min(1)
        .max(challengesMax),
    })
    .refine(
      ({ lease, items }) => lease === undefined || items.every((item) => item.points === undefined),
      'a lease is given for every chunk or not at all',
    ),
  /** Tells what the answerer lacks and should hold, and who has it: a hint, which it checks against what it knows. */
  z.strictObject({
    t: z.literal('order'),
    items: z
      .array(z.strictObject({ ns, key, version: hash, manifest: hash, holders: z.array(nodeId).max(orderHoldersMax) }))
      .min(1)
      .max(ordersMax),
  }),
  /** Asks the answerer to challenge other holders about contents that it holds itself. */
  z.strictObject({
    t: z.literal('check'),
    items: z
      .array(z.strictObject({ manifest: hash, node: nodeId, points }))
      .min(1)
      .max(checksMax),
  }),
  ...viewRequests,
]);

/** A proof's outcome: the proof, 0 for a content that is not here whole, 1 for later. */
const proofAnswer = z.union([hash, z.literal(0), z.literal(1)]);
/** What a check of another holder came to. */
const checkAnswer = z.enum(['proved', 'lacking', 'wrong', 'unreachable']);

const response = z.discriminatedUnion('t', [
  z.strictObject({
    t: z.literal('feed'),
    feed: feedNameSchema,
    last: changeNumberSchema,
    through: changeNumberSchema,
    entries: packedItemsSchema.nullable(),
  }),
  z.strictObject({ t: z.literal('ranges'), answers: z.array(packedAnswerSchema).max(rangesMax) }),
  /** The answer is being worked on; any number of these come before it. */
  z.strictObject({ t: z.literal('working') }),
  z.strictObject({ t: z.literal('proofs'), answers: z.array(proofAnswer).max(challengesMax) }),
  /** How many of the orders were taken up. */
  z.strictObject({ t: z.literal('ordered'), taken: z.int().min(0).max(ordersMax) }),
  z.strictObject({ t: z.literal('checked'), results: z.array(checkAnswer).max(checksMax) }),
  ...viewResponses,
]);

/** What the asking side sends. Hashes are 32 raw bytes. */
export type ReplicaRequest = z.infer<typeof request>;
/** What the answering side sends. */
export type ReplicaResponse = z.infer<typeof response>;
/** What a check of another holder came to. */
export type CheckAnswer = z.infer<typeof checkAnswer>;
/** A proof, `lacking` for a content that is not here whole, or `busy` when it is to be asked for later. */
export type ProofAnswer = Uint8Array | 'lacking' | 'busy';

/** A message as CBOR. */
export function encodeReplicaMessage(message: ReplicaRequest | ReplicaResponse): Uint8Array {
  return encodeCbor(message);
}

/** Reads a request, or says why it is none. Never throws. */
export function decodeReplicaRequest(bytes: Uint8Array): Result<ReplicaRequest, string> {
  return decodeMessage(request, bytes);
}

/** Reads a response, or says why it is none. Never throws. */
export function decodeReplicaResponse(bytes: Uint8Array): Result<ReplicaResponse, string> {
  return decodeMessage(response, bytes);
}

/** A proof's outcome as it stands in a response. */
export function packProof(answer: ProofAnswer): Uint8Array | 0 | 1 {
  return answer === 'lacking' ? 0 : answer === 'busy' ? 1 : answer;
}

/** What `packProof` packed. */
export function unpackProof(packed: Uint8Array | 0 | 1): ProofAnswer {
  return packed === 0 ? 'lacking' : packed === 1 ? 'busy' : packed;
}
