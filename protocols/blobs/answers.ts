import { blobBytesMax } from '../../crdt/chunking.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { messageBytesMax } from '../wire/frames.ts';
import type { BufferPool } from './buffer-pool.ts';

/**
 * Answers come in the order of the asked hashes, as one stream of bytes cut into messages:
 * `00` for a blob the holder lacks, or `01`, the blob's size as u32 big-endian, and its bytes.
 * Many small answers share a message; a large blob spans several. A header never spans two messages.
 */
const missingTag = 0;
const blobTag = 1;
const blobHeaderBytes = 5;

/** Blobs up to this size share messages with others; a longer one is sent uncopied, in messages of its own. */
const packedBlobBytesMax = 32 * 1024;

const missingAnswer = Uint8Array.of(missingTag);

/** The serving end: packs answers into messages as full as the order allows. */
export class AnswerPacker {
  readonly #send: (message: Uint8Array) => Promise<void>;
  readonly #pieceBytesMax: number;
  #parts: Uint8Array[] = [];
  #packedBytes = 0;

  /** `send` takes over the message, of at most `pieceBytesMax` bytes; its promise is awaited before the next one. */
  constructor(send: (message: Uint8Array) => Promise<void>, pieceBytesMax = messageBytesMax) {
    this.#send = send;
    this.#pieceBytesMax = pieceBytesMax;
  }

  /**
   * Adds the next answer: a blob's bytes, or undefined for one that is not here. True when the bytes have been handed on;
   * otherwise they must not change until the next `flush`.
   */
  async answer(blob: Uint8Array | undefined): Promise<boolean> {
    const header = blob === undefined ? missingAnswer : blobHeader(blob.length);
    const isPacked = blob !== undefined && blob.length <= Math.min(packedBlobBytesMax, this.#pieceBytesMax / 2);
    const packedBytes = header.length + (isPacked ? blob.length : 0);
    if (this.#packedBytes + packedBytes > this.#pieceBytesMax) await this.flush();
    this.#pack(header);
    if (isPacked) this.#pack(blob);
    if (isPacked || blob === undefined) return false;
    await this.flush();
    for (let offset = 0; offset < blob.length; offset += this.#pieceBytesMax) {
      await this.#send(blob.subarray(offset, offset + this.#pieceBytesMax));
    }
    return true;
  }

  #pack(part: Uint8Array): void {
    this.#parts.push(part);
    this.#packedBytes += part.length;
  }

  /** Sends what is packed so far, so that nobody waits for a message to fill up. */
  async flush(): Promise<void> {
    if (this.#packedBytes === 0) return;
    const message = new Uint8Array(this.#packedBytes);
    let offset = 0;
    for (const part of this.#parts) {
      message.set(part, offset);
      offset += part.length;
    }
    this.#parts = [];
    this.#packedBytes = 0;
    await this.#send(message);
  }
}

function blobHeader(size: number): Uint8Array {
  const header = new Uint8Array(blobHeaderBytes);
  header[0] = blobTag;
  new DataView(header.buffer).setUint32(1, size);
  return header;
}

/**
 * The asking end: takes the stream of answers apart, however it was cut on its way. Holds at most one unfinished
 * blob of at most `blobBytesMax`.
 */
export class AnswerParser {
  readonly #buffers: BufferPool;
  readonly #onAnswer: (blob: Uint8Array<ArrayBuffer> | undefined) => void;
  readonly #header = new Uint8Array(blobHeaderBytes);
  #headerFilled = 0;
  #blob: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;

  /** `onAnswer` is called once an answer; the bytes, taken from `buffers`, are its own. What it throws ends `push`. */
  constructor(buffers: BufferPool, onAnswer: (blob: Uint8Array<ArrayBuffer> | undefined) => void) {
    this.#buffers = buffers;
    this.#onAnswer = onAnswer;
  }

  /** Takes the next bytes. Throws `MeshError` `protocol_violation` for anything that is not an answer. */
  push(bytes: Uint8Array): void {
    let offset = 0;
    while (offset < bytes.length) {
      offset = this.#blob === undefined ? this.#takeHeader(bytes, offset) : this.#fill(this.#blob, bytes, offset);
    }
  }

  #takeHeader(bytes: Uint8Array, start: number): number {
    let offset = start;
    while (this.#headerFilled < blobHeaderBytes && offset < bytes.length) {
      this.#header[this.#headerFilled++] = bytes[offset++] as number;
      if (this.#headerFilled > 1) continue;
      const tag = this.#header[0];
      if (tag !== missingTag && tag !== blobTag) throw violation(`an answer of the unknown kind ${tag}`);
      if (tag === blobTag) continue;
      this.#headerFilled = 0;
      this.#onAnswer(undefined);
    }
    if (this.#headerFilled === blobHeaderBytes) this.#startBlob();
    return offset;
  }

  #startBlob(): void {
    this.#headerFilled = 0;
    const size = new DataView(this.#header.buffer).getUint32(1);
    if (size > blobBytesMax) throw violation(`a blob of ${size} bytes, at most ${blobBytesMax} may be sent`);
    const blob = this.#buffers.take(size);
    if (size === 0) this.#onAnswer(blob);
    else this.#blob = blob;
    this.#filled = 0;
  }

  #fill(blob: Uint8Array<ArrayBuffer>, bytes: Uint8Array, offset: number): number {
    const taken = Math.min(blob.length - this.#filled, bytes.length - offset);
    blob.set(bytes.subarray(offset, offset + taken), this.#filled);
    this.#filled += taken;
    if (this.#filled === blob.length) {
      this.#blob = undefined;
      this.#onAnswer(blob);
    }
    return offset + taken;
  }
}

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', `the holder sent ${message}`);
}
