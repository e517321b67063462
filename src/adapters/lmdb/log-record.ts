import { crc32 } from 'node:zlib';
import { writeKeyOfText } from '../../ports/key-text.ts';
import type { Row, RowTable } from './pending-rows.ts';

// A record of the write-ahead log, which is a batch of rows. Numbers have their least byte first:
//
//   0  magic                4   its last byte is the version of this format
//   4  checksum             4   CRC-32 of all that follows, the payload included
//   8  generation           8   of the log: see write-ahead-log.ts
//  16  transactions         8   that the database had when the generation began
//  24  nonce                8   drawn for the generation, so that nothing in a row can pass for a record of it
//  32  index                4   of the record in its generation, from 0
//  36  payload length       4
//  40  payload: a row after the other, each as key length (2), value length (4, all ones for a deletion), key, value
//
// Zeroes follow up to the end of the page.

/** Records begin at multiples of this, so that what writes one touches none that was acknowledged. */
export const logPageBytes = 4_096;
const headerBytes = 40;
const magic = 0x0157_4241;
const checksummedFrom = 8;
const rowHeaderBytes = 6;
const deletion = 0xffff_ffff;

export interface LogRecordHeader {
  readonly generation: number;
  readonly transactions: number;
  readonly nonce: bigint;
  readonly index: number;
}

export interface LogRecord extends LogRecordHeader {
  readonly rows: readonly Row[];
  /** With its header and the zeroes. */
  readonly length: number;
}

/** What a record of so many rows takes, whose keys and values have no more than so many bytes. */
export function logRecordBytesMax({ size, bytes }: { readonly size: number; readonly bytes: number }): number {
  return pagesOf(headerBytes + size * rowHeaderBytes + bytes);
}

/** A record of some rows, which are gone through twice, in whole pages, put together in memory of the length that is asked for. */
export function encodeLogRecord(
  header: LogRecordHeader,
  rows: RowTable,
  memory: (length: number) => Buffer = Buffer.allocUnsafeSlow,
): Uint8Array {
  let payloadBytes = 0;
  rows.forEach((value, text) => {
    payloadBytes += rowHeaderBytes + text.length + (value?.length ?? 0);
  });
  const record = memory(pagesOf(headerBytes + payloadBytes));
  record.writeUInt32LE(magic, 0);
  record.writeBigUInt64LE(BigInt(header.generation), 8);
  record.writeBigUInt64LE(BigInt(header.transactions), 16);
  record.writeBigUInt64LE(header.nonce, 24);
  record.writeUInt32LE(header.index, 32);
  record.writeUInt32LE(payloadBytes, 36);
  let at = headerBytes;
  rows.forEach((value, text) => {
    record.writeUInt16LE(text.length, at);
    record.writeUInt32LE(value === null ? deletion : value.length, at + 2);
    at += rowHeaderBytes;
    writeKeyOfText(record, text, at);
    at += text.length;
    if (value === null) return;
    record.set(value, at);
    at += value.length;
  });
  record.fill(0, at);
  record.writeUInt32LE(crc32(record.subarray(checksummedFrom, at)), 4);
  return record;
}

/**
 * The record that begins where the bytes do, of a generation when its nonce is named; undefined when no whole and sound one does.
 * Its values are views of the bytes.
 */
export function decodeLogRecord(bytes: Uint8Array, nonce?: bigint): LogRecord | undefined {
  const record = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (record.length < headerBytes || record.readUInt32LE(0) !== magic) return undefined;
  // Before the checksum: a row may be made to look like the beginnings of long records, on every page.
  if (nonce !== undefined && record.readBigUInt64LE(24) !== nonce) return undefined;
  const end = headerBytes + record.readUInt32LE(36);
  if (end > record.length || crc32(record.subarray(checksummedFrom, end)) !== record.readUInt32LE(4)) return undefined;
  const rows = decodeRows(record.subarray(headerBytes, end));
  return {
    generation: Number(record.readBigUInt64LE(8)),
    transactions: Number(record.readBigUInt64LE(16)),
    nonce: record.readBigUInt64LE(24),
    index: record.readUInt32LE(32),
    rows,
    length: pagesOf(end),
  };
}

function decodeRows(payload: Buffer): Row[] {
  const rows: Row[] = [];
  for (let at = 0; at < payload.length; ) {
    const key = at + rowHeaderBytes;
    const value = key + payload.readUInt16LE(at);
    const length = payload.readUInt32LE(at + 2);
    at = value + (length === deletion ? 0 : length);
    const text = payload.toString('latin1', key, value);
    rows.push([text, length === deletion ? null : plainBytes(payload.subarray(value, at))]);
  }
  return rows;
}

/** Readers are given these, and a Buffer's `slice` shares memory where a Uint8Array's copies. */
function plainBytes({ buffer, byteOffset, length }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}

function pagesOf(bytes: number): number {
  return Math.ceil(bytes / logPageBytes) * logPageBytes;
}
