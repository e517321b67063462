import { MeshError } from '../../src/ports/mesh-error.ts';

/**
 * The frame under every protocol of the mesh: u32 big-endian payload length, u8 type, payload.
 * Each side's first frame is a hello with the wire version, so that a later format can be refused by name.
 */

/** The wire version this code speaks. */
export const wireVersion = 1;
/** Bytes before the payload. */
export const frameHeaderBytes = 5;
/** The longest message, so that one stream never holds a shared connection for long. Protocols cut content themselves. */
export const messageBytesMax = 256 * 1024;
/** What a message costs at least, so that a flood of empty messages is bounded by credit as well. */
const messageCostMin = 64;
/** Pieces of a message that are shorter than this, its last one excepted, are not handed on by themselves. */
const pieceBytesMin = 4 * 1024;
/** Hellos longer than this are refused; today's has one byte, and a later version may add to it. */
const helloBytesMax = 64;

/** Type bytes of the frames. */
export const frameType = { hello: 0, data: 1, credit: 2, end: 3 } as const;
/** One of the type bytes above. */
export type FrameType = (typeof frameType)[keyof typeof frameType];

const payloadBytes: readonly { readonly min: number; readonly max: number }[] = [
  { min: 1, max: helloBytesMax },
  { min: 0, max: messageBytesMax },
  { min: 4, max: 4 },
  { min: 0, max: 0 },
];

/** The header of a data frame whose payload is written separately, uncopied. */
export function dataHeader(payloadLength: number): Uint8Array {
  return header(frameType.data, payloadLength, 0);
}

/** A whole data frame in one buffer, for payloads small enough that a copy is cheaper than a second write. */
export function dataFrame(payload: Uint8Array): Uint8Array {
  const frame = header(frameType.data, payload.byteLength, payload.byteLength);
  frame.set(payload, frameHeaderBytes);
  return frame;
}

/** The frame that opens each direction of a stream. */
export function helloFrame(): Uint8Array {
  const frame = header(frameType.hello, 1, 1);
  frame[frameHeaderBytes] = wireVersion;
  return frame;
}

/** Grants the peer `bytes` more of credit (1 to 2^32 - 1). */
export function creditFrame(bytes: number): Uint8Array {
  const frame = header(frameType.credit, 4, 4);
  writeU32(frame, frameHeaderBytes, bytes);
  return frame;
}

/** Says that no data frame follows; credit frames still may. */
export function endFrame(): Uint8Array {
  return header(frameType.end, 0, 0);
}

/** The credit that a message takes up, in bytes. */
export function messageCost(length: number): number {
  return Math.max(length, messageCostMin);
}

/** Reads the number of a credit frame's payload. */
export function creditOf(payload: Uint8Array): number {
  return readU32(payload, 0);
}

function header(type: FrameType, payloadLength: number, room: number): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes + room);
  writeU32(frame, 0, payloadLength);
  frame[4] = type;
  return frame;
}

function writeU32(target: Uint8Array, offset: number, value: number): void {
  target[offset] = value >>> 24;
  target[offset + 1] = value >>> 16;
  target[offset + 2] = value >>> 8;
  target[offset + 3] = value;
}

function readU32(source: Uint8Array, offset: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = source.subarray(offset, offset + 4);
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** Takes a frame: its type, its payload, which is the callee's, and the credit it takes up (0 but for data). */
export type FrameReceiver = (type: FrameType, payload: Uint8Array, cost: number) => void;

/**
 * Cuts a byte stream, however it was split on its way, back into frames. Bounded: it holds at most one
 * frame's payload. Throws `MeshError` `protocol_violation` for anything that is not a frame; it is of no
 * use afterwards.
 */
export class FrameDecoder {
  readonly #header = new Uint8Array(frameHeaderBytes);
  readonly #onFrame: FrameReceiver;
  readonly #piecewise: boolean;
  #headerFilled = 0;
  #helloSeen = false;
  #type: FrameType = frameType.hello;
  #length = 0;
  /** How much of the payload has been handed on or gathered. */
  #taken = 0;
  /** Where the payload, or the rest of it, is gathered when it does not come in one piece. */
  #gathered: Uint8Array | undefined;
  #gatheredBytes = 0;

  /**
   * `onFrame` gets every frame in order; the first one is always a hello of a known version. With `piecewise`
   * it gets the data of a long message in the pieces it comes in, uncopied, each as if it were a frame.
   */
  constructor(onFrame: FrameReceiver, options: { readonly piecewise?: boolean } = {}) {
    this.#onFrame = onFrame;
    this.#piecewise = options.piecewise ?? false;
  }

  /** True between frames: a stream may end here without cutting one in two. */
  get idle(): boolean {
    return this.#headerFilled === 0;
  }

  /** Takes the next bytes; calls back for every frame they complete. */
  push(bytes: Uint8Array): void {
    let offset = 0;
    while (offset < bytes.byteLength) {
      if (this.#headerFilled < frameHeaderBytes) {
        this.#header[this.#headerFilled++] = bytes[offset++] as number;
        if (this.#headerFilled < frameHeaderBytes) continue;
        this.#startPayload();
        if (this.#length > 0) continue;
      }
      offset = this.#takePayload(bytes, offset);
    }
  }

  #startPayload(): void {
    const length = readU32(this.#header, 0);
    const type = this.#header[4] as number;
    this.#checkHeader(type, length);
    this.#type = type as FrameType;
    this.#length = length;
    this.#taken = 0;
  }

  #takePayload(bytes: Uint8Array, offset: number): number {
    const rest = this.#length - this.#taken - this.#gatheredBytes;
    const size = Math.min(rest, bytes.byteLength - offset);
    if (this.#gathered === undefined) {
      const handsOnPieces = this.#piecewise && this.#type === frameType.data && size >= pieceBytesMin;
      if (size === rest || handsOnPieces) {
        this.#deliver(pieceOf(bytes, offset, size));
        return offset + size;
      }
      this.#gathered = new Uint8Array(rest);
    }
    this.#gathered.set(pieceView(bytes, offset, size), this.#gatheredBytes);
    this.#gatheredBytes += size;
    if (size === rest) this.#deliver(this.#gathered);
    return offset + size;
  }

  /** Hands on the payload, or a piece of it. */
  #deliver(payload: Uint8Array): void {
    this.#gathered = undefined;
    this.#gatheredBytes = 0;
    this.#taken += payload.byteLength;
    const whole = payload.byteLength === this.#length;
    if (this.#taken === this.#length) this.#headerFilled = 0;
    if (!this.#helloSeen) {
      if (payload[0] !== wireVersion) {
        throw violation(`the peer speaks wire version ${payload[0]}, this node speaks ${wireVersion}`);
      }
      this.#helloSeen = true;
    } else if (this.#type === frameType.credit && creditOf(payload) === 0) {
      throw violation('a credit frame grants nothing');
    }
    const cost = whole ? messageCost(payload.byteLength) : payload.byteLength;
    this.#onFrame(this.#type, payload, this.#type === frameType.data ? cost : 0);
  }

  #checkHeader(type: number, length: number): void {
    const limits = payloadBytes[type];
    if (limits === undefined) throw violation(`unknown frame type ${type}`);
    if (length < limits.min || length > limits.max)
      throw violation(`a frame of type ${type} says it has ${length} bytes`);
    if (this.#helloSeen === (type === frameType.hello)) {
      throw violation(this.#helloSeen ? 'a second hello frame' : `the first frame is of type ${type}, not a hello`);
    }
  }
}

/** A view costs no copy but keeps its whole chunk alive, so small pieces of a large chunk are copied out. */
function pieceOf(bytes: Uint8Array, offset: number, size: number): Uint8Array {
  const view = pieceView(bytes, offset, size);
  return size * 2 < bytes.buffer.byteLength ? new Uint8Array(view) : view;
}

/** Never a `Buffer`, whose `slice` does not copy. */
function pieceView(bytes: Uint8Array, offset: number, size: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + offset, size);
}

/** The error for a peer that breaks the wire protocol. */
export function violation(message: string): MeshError {
  return new MeshError('protocol_violation', message);
}
