import type { EncodedContext } from '../../crdt/causality.ts';
import type { DocId, NodeId, VersionId } from '../../crdt/ids.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { VersionKind } from './api.ts';

/** The rows the node keeps about objects: JSON, since any tool can read it, under the store's format number. */

/** What is kept of a head, so that reading, listing and writing need no record. */
export interface HeadRow {
  readonly id: VersionId;
  readonly generation: number;
  readonly kind: VersionKind;
  readonly size: number | null;
  readonly time: number;
  readonly author: string;
  readonly node: NodeId;
}

/** What is kept of a confirmed head, so that reading and listing need neither its certificate nor its record. */
export interface ConfirmedRow {
  readonly id: VersionId;
  /** Of its certificate, from 1. */
  readonly position: number;
  readonly generation: number;
  readonly kind: VersionKind;
  readonly size: number | null;
  readonly time: number;
}

export interface ObjectRow {
  readonly ns: string;
  readonly key: string;
  /** Sorted by id as text. */
  readonly heads: readonly HeadRow[];
  /** The confirmed head: that of the greatest certificate whose head is here. Absent before the first. */
  readonly confirmed?: ConfirmedRow;
  /** The greatest certificate known, while its head is not here. */
  readonly certified?: { readonly position: number; readonly head: VersionId };
  readonly versions: number;
  /** The dots of every version held, by which a dot that was issued twice is noticed. */
  readonly dots: EncodedContext;
  /** Changes that are not part of the document's snapshot yet. */
  readonly increments: number;
  /** Its place in this node's feed of changes. */
  readonly change: number;
}

/** An entry of the key listing: the preferred head and how many heads there are. */
export interface ListingRow {
  readonly doc: DocId;
  readonly version: VersionId;
  readonly heads: number;
  readonly size: number | null;
  readonly time: number;
  /** True when the preferred head is the confirmed one. */
  readonly confirmed: boolean;
}

export interface ConflictRow {
  readonly heads: readonly VersionId[];
  readonly preferred: VersionId;
}

export interface CountsRow {
  readonly objects: number;
  readonly versions: number;
  readonly conflicts: number;
  /** Versions that are a confirmed head or an ancestor of one. */
  readonly confirmed: number;
}

export function encodeRow(row: object): Uint8Array {
  return Buffer.from(JSON.stringify(row));
}

/** Rows are written by this node alone, under a checked format number: bytes that do not parse are rot. */
export function decodeRow<Row>(bytes: Uint8Array, what: string): Row {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as Row;
  } catch (cause) {
    throw new MeshError('corrupt', `the stored ${what} cannot be read`, { cause });
  }
}

/** Begins the row of a version whose change is part of its document's snapshot; no record's text does. */
const foldedMark = 1;
const changeHashBytes = 32;

/**
 * A version's row is its record's text. Once its change is part of a snapshot, it is a mark, the change's hash (which
 * later changes name) and the text.
 *
 * @param changeHash lowercase hex
 */
export function foldedRow(text: string, changeHash: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(foldedMark), Buffer.from(changeHash, 'hex'), Buffer.from(text)]);
}

/** The record's text in a version's row. */
export function textOfRow(row: Uint8Array): Uint8Array {
  return row[0] === foldedMark ? row.subarray(1 + changeHashBytes) : row;
}

/** The hash of a version's change, in lowercase hex, when the change is part of a snapshot. */
export function foldedHashOf(row: Uint8Array): string | undefined {
  if (row[0] !== foldedMark) return undefined;
  return Buffer.from(row.buffer, row.byteOffset + 1, changeHashBytes).toString('hex');
}
