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

/**
 * Cuts a byte stream, however it was split on its way, back into frames. Bounded: it holds at most one
 * frame's payload. Throws `MeshError` `protocol_violation` for anything that is not a frame; it is of no
 * use afterwards.
 */
export class FrameDecoder {
  readonly #header = new Uint8Array(frameHeaderBytes);
  readonly #onFrame: (type: FrameType, payload: Uint8Array) => void;
  #headerFilled = 0;
  #helloSeen = false;
  #type: FrameType = frameType.hello;
  #payload: Uint8Array | undefined;
  #payloadFilled = 0;

  /** `onFrame` gets every frame in order and owns its payload; the first one is always a hello of a known version. */
  constructor(onFrame: (type: FrameType, payload: Uint8Array) => void) {
    this.#onFrame = onFrame;
  }

  /** True between frames: a stream may end here without cutting one in two. */
  get idle(): boolean {
    return this.#headerFilled === 0;
  }

  /** Takes the next bytes; calls back for every frame they complete. */
  push(bytes: Uint8Array): void {
    let offset = 0;
    while (offset < bytes.byteLength) {
      offset =
        this.#headerFilled < frameHeaderBytes ? this.#takeHeader(bytes, offset) : this.#takePayload(bytes, offset);
    }
  }

  #takeHeader(bytes: Uint8Array, start: number): number {
    let offset = start;
    while (this.#headerFilled < frameHeaderBytes && offset < bytes.byteLength) {
      this.#header[this.#headerFilled++] = bytes[offset++] as number;
    }
    if (this.#headerFilled < frameHeaderBytes) return offset;
    const length = readU32(this.#header, 0);
    const type = this.#header[4] as number;
    this.#checkHeader(type, length);
    this.#type = type as FrameType;
    this.#payloadFilled = 0;
    const available = bytes.byteLength - offset;
    if (available >= length) {
      // A view costs no copy but keeps its whole chunk alive, so small pieces of a large chunk are copied out.
      const whole = new Uint8Array(bytes.buffer, bytes.byteOffset + offset, length);
      this.#deliver(length * 2 < bytes.buffer.byteLength ? new Uint8Array(whole) : whole);
      return offset + length;
    }
    this.#payload = new Uint8Array(length);
    return offset;
  }

  #takePayload(bytes: Uint8Array, offset: number): number {
    const payload = this.#payload as Uint8Array;
    const wanted = payload.byteLength - this.#payloadFilled;
    const taken = Math.min(wanted, bytes.byteLength - offset);
    payload.set(
      offset === 0 && taken === bytes.byteLength ? bytes : bytes.subarray(offset, offset + taken),
      this.#payloadFilled,
    );
    this.#payloadFilled += taken;
    if (taken === wanted) this.#deliver(payload);
    return offset + taken;
  }

  #deliver(payload: Uint8Array): void {
    this.#headerFilled = 0;
    this.#payload = undefined;
    if (!this.#helloSeen) {
      if (payload[0] !== wireVersion) {
        throw violation(`the peer speaks wire version ${payload[0]}, this node speaks ${wireVersion}`);
      }
      this.#helloSeen = true;
    } else if (this.#type === frameType.credit && creditOf(payload) === 0) {
      throw violation('a credit frame grants nothing');
    }
    this.#onFrame(this.#type, payload);
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

/** The error for a peer that breaks the wire protocol. */
export function violation(message: string): MeshError {
  return new MeshError('protocol_violation', message);
}
