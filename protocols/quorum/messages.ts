import { z } from 'zod';
import { certificateBytesMax, isRegisterName } from '../../crdt/certificate.ts';
import { isHash } from '../../crdt/digest.ts';
import type { Actor, Result } from '../../crdt/ids.ts';
import { isActor } from '../../crdt/node-name.ts';
import { firstCounter } from '../../crdt/quorum/ballot.ts';
import { signatureBytes } from '../../crdt/signature.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import { byteString } from '../wire/schemas.ts';

/** The protocol's name on a libp2p stream. */
export const quorumProtocol = '/anabranch/quorum/1.0.0';

/** Registers voted on in one message: 60 KiB at most and what is enclosed, and one flushed transaction. */
export const votesMax = 128;
/** Candidates in one request to confirm: what is enclosed, and their certificates in the answer, take up 128 KiB at most. */
export const confirmsMax = 32;
/** Bytes enclosed with one head: a usual record and a small content. */
export const enclosedBytesMax = 4 * 1024;
/** Bytes enclosed in one request for votes. */
export const enclosedBytesOfVotesMax = 128 * 1024;
/** Parts of what is enclosed with one head. */
const enclosedPartsMax = 4;
/** Registers named in one answer to a listing: 55 KiB. */
export const listedMax = 1_024;
/** Characters of a refusal's sentence, which is for a person. */
export const refusalMessageLengthMax = 1_024;

const wholeNumber = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const numberFromOne = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
const register = z.string().refine(isRegisterName, 'not a register');
const hash = z.string().refine(isHash, 'not a hash');
const ballot = z.strictObject({
  counter: wholeNumber,
  proposer: z.custom<Actor>((text) => typeof text === 'string' && isActor(text), 'not a proposer'),
});
/** A first round is not prepared, neither by a request nor along with a vote. */
const preparedBallot = ballot.refine(({ counter }) => counter > firstCounter, 'a ballot of a first round');
const value = z
  .strictObject({ position: numberFromOne, head: hash, previous: hash.nullable() })
  .refine(({ position, previous }) => (position === 1) === (previous === null), 'not a link of a chain');
const certificateText = z.string().max(certificateBytesMax);
const refusal = z.strictObject({ code: z.string().max(64), message: z.string().max(refusalMessageLengthMax) });

const signature = byteString.refine((bytes) => bytes.length === signatureBytes, 'not a signature');

/** What a head names, for those who do not hold it yet; left out when they can be expected to, or it is too large. */
const enclosed = z
  .array(byteString)
  .min(1)
  .max(enclosedPartsMax)
  .refine((parts) => bytesOf(parts) <= enclosedBytesMax, 'more is enclosed than may be')
  .optional();

const voteItem = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('prepare'), register, ballot: preparedBallot }),
  z.strictObject({ t: z.literal('accept'), register, ballot, value, next: preparedBallot.nullable(), enclosed }),
]);

const request = z.discriminatedUnion('t', [
  /**
   * Asks a coordinator to take part in rounds of many registers. `seen` is its greatest vote sequence the asker knows of,
   * `own` the asker's own that is on its disk, 0 before it has voted. `voted` is its signature under all that is to be accepted,
   * when it has accepted that itself: under the one statement, or the batch of them in the order of the request.
   */
  z.strictObject({
    t: z.literal('votes'),
    epoch: numberFromOne,
    seen: wholeNumber,
    own: wholeNumber,
    voted: signature.optional(),
    items: z.array(voteItem).min(1).max(votesMax),
  }),
  /** Asks a coordinator which registers it has accepted values of, after one by name. */
  z.strictObject({
    t: z.literal('list'),
    epoch: numberFromOne,
    seen: wholeNumber,
    after: register.nullable(),
    limit: z.int().min(1).max(listedMax),
  }),
  /** Asks a coordinator for the greatest vote sequence it has heard of the asker. */
  z.strictObject({ t: z.literal('heard') }),
  /** Asks a coordinator to have heads confirmed. */
  z.strictObject({
    t: z.literal('confirm'),
    items: z
      .array(z.strictObject({ register, head: hash, enclosed }))
      .min(1)
      .max(confirmsMax),
  }),
]);

const voteAnswer = z.discriminatedUnion('t', [
  z.strictObject({
    t: z.literal('promised'),
    accepted: z.strictObject({ ballot, value, epoch: numberFromOne }).nullable(),
  }),
  /** Without a signature of its own when the answer has one for all. */
  z.strictObject({ t: z.literal('accepted'), signature: signature.nullable() }),
  z.strictObject({ t: z.literal('outbid'), promised: ballot }),
  z.strictObject({ t: z.literal('stale_epoch'), epoch: numberFromOne }),
  z.strictObject({ t: z.literal('behind'), epoch: numberFromOne }),
  /** What the head names could not be had in time, or a certificate is known that rules the value out. */
  z.strictObject({ t: z.literal('missing') }),
]);

const wireOutcome = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('confirmed'), certificate: certificateText }),
  z.strictObject({ t: z.literal('refused'), refusal, certificate: certificateText.nullable() }),
  z.strictObject({ t: z.literal('unavailable'), reason: z.string().max(64) }),
]);

const response = z.discriminatedUnion('t', [
  /**
   * Answers `votes`, item by item. `sequence` is the coordinator's vote sequence, flushed with what is answered. `batch` is
   * one signature under all that was accepted (`VoteBatch`, in the order of the request): when two or more were asked to
   * be accepted and all of them were, else null.
   */
  z.strictObject({
    t: z.literal('votes'),
    sequence: numberFromOne,
    answers: z.array(voteAnswer).max(votesMax),
    batch: signature.nullable(),
  }),
  /** Answers `heard`; 0 when nothing was heard yet. */
  z.strictObject({ t: z.literal('heard'), sequence: wholeNumber }),
  /**
   * Answers `list`: names in order, each with whether its value was accepted in this epoch already, and through which
   * name this node has looked; null for the end.
   */
  z.strictObject({
    t: z.literal('list'),
    sequence: numberFromOne,
    registers: z.array(z.tuple([register, z.boolean()])).max(listedMax),
    through: register.nullable(),
  }),
  z.strictObject({ t: z.literal('confirm'), outcomes: z.array(wireOutcome).max(confirmsMax) }),
  /** The coordinator takes no part: it is in another epoch, no coordinator, or was restored from an older disk. */
  z.strictObject({
    t: z.literal('declined'),
    code: z.enum(['stale_epoch', 'behind', 'not_a_coordinator', 'coordinator_restored']),
    epoch: numberFromOne,
  }),
]);

/** What the asking side sends. */
export type QuorumRequest = z.infer<typeof request>;
/** Asks for votes. */
export type VotesRequest = Extract<QuorumRequest, { t: 'votes' }>;
/** Asks for registers to carry over. */
export type ListRequest = Extract<QuorumRequest, { t: 'list' }>;
/** One register's part of a request for votes. */
export type VoteItem = z.infer<typeof voteItem>;
/** What the answering side sends. */
export type QuorumResponse = z.infer<typeof response>;
/** One register's part of an answer. */
export type VoteAnswer = z.infer<typeof voteAnswer>;
/** One candidate of a request to confirm. */
export type ConfirmItem = Extract<QuorumRequest, { t: 'confirm' }>['items'][number];
/** How one candidate fared, on the wire. */
export type WireOutcome = z.infer<typeof wireOutcome>;

/** How many bytes are enclosed with a head. */
export function bytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const { length } of parts) bytes += length;
  return bytes;
}

/** A message as CBOR. */
export function encodeQuorumMessage(message: QuorumRequest | QuorumResponse): Uint8Array {
  return encodeCbor(message);
}

/** Reads a request, or says why it is none. Never throws. */
export function decodeQuorumRequest(bytes: Uint8Array): Result<QuorumRequest, string> {
  return decodeMessage(request, bytes);
}

/** Reads a response, or says why it is none. Never throws. */
export function decodeQuorumResponse(bytes: Uint8Array): Result<QuorumResponse, string> {
  return decodeMessage(response, bytes);
}
