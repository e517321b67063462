import { z } from 'zod';
import { isHash } from '../../crdt/digest.ts';
import type { Result } from '../../crdt/ids.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import { candidateLengthMax, lineLengthMax, linesMax } from './limits.ts';

/** The protocol's name on a libp2p stream. */
export const controlProtocol = '/anabranch/control/1.0.0';

const position = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const hash = z.string().refine(isHash, 'not a hash');
const tip = z.strictObject({ seq: position, hash });

const request = z.discriminatedUnion('t', [
  /** Asks for the certified entries after a position. */
  z.strictObject({ t: z.literal('entries'), after: position }),
  /** Asks for the text of an entry that was proposed and is not certified. */
  z.strictObject({ t: z.literal('candidate'), hash }),
  /** Tells where the asker's log ends, and asks where the other's does. */
  z.strictObject({ t: z.literal('tip'), tip }),
  /** Asks a coordinator how far the registers have come to the present coordinators. */
  z.strictObject({ t: z.literal('carry') }),
]);

const carry = z.strictObject({
  epoch: position,
  carried: position,
  done: position,
  total: position,
  complete: z.boolean(),
});

const response = z.discriminatedUnion('t', [
  /** Lines as `encodeLogLine` writes them, in order and without a gap, and where the log ends. */
  z.strictObject({ t: z.literal('entries'), tip, lines: z.array(z.string().max(lineLengthMax)).max(linesMax) }),
  z.strictObject({ t: z.literal('candidate'), text: z.string().max(candidateLengthMax).nullable() }),
  z.strictObject({ t: z.literal('tip'), tip }),
  /** Null from one that is no coordinator. */
  z.strictObject({ t: z.literal('carry'), carry: carry.nullable() }),
]);

/** What the asking side sends. */
export type ControlRequest = z.infer<typeof request>;
/** What the answering side sends. */
export type ControlResponse = z.infer<typeof response>;
/** Where a log ends: its last entry's number, and that entry's hash; 0 and the cluster's id for the genesis alone. */
export type LogTip = z.infer<typeof tip>;
/** How far the registers have come to the coordinators of an epoch, as one of them knows. */
export type CarryReport = z.infer<typeof carry>;

/** A message as CBOR. */
export function encodeControlMessage(message: ControlRequest | ControlResponse): Uint8Array {
  return encodeCbor(message);
}

/** Reads a request, or says why it is none. Never throws. */
export function decodeControlRequest(bytes: Uint8Array): Result<ControlRequest, string> {
  return decodeMessage(request, bytes);
}

/** Reads a response, or says why it is none. Never throws. */
export function decodeControlResponse(bytes: Uint8Array): Result<ControlResponse, string> {
  return decodeMessage(response, bytes);
}
