import type { MessageStream, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface';
import { yamux } from '@libp2p/yamux';
import { MeshError } from '../../ports/mesh-error.ts';
import { carriedBy, writesBeneath } from './socket-writes.ts';

/** yamux's header: version, type, flags (2), stream (4), length (4). */
const headerBytes = 12;
const dataType = 0;
/** The window is given back in such parts: a quarter of the one that others start with, who so never wait for the rest. */
const grantBytes = 64 * 1024;

/** Watches the frame headers go by in the decrypted bytes of a connection. */
export class YamuxHeaderWatch {
  readonly #frameBytesMax: number;
  readonly #header = new Uint8Array(headerBytes);
  #headerFilled = 0;
  #bodyBytesLeft = 0;

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Takes the next bytes; false once a data frame says that it is longer than allowed. */
  admits(bytes: Uint8Array): boolean {
    for (let offset = 0; offset < bytes.byteLength; ) {
      const skipped = Math.min(this.#bodyBytesLeft, bytes.byteLength - offset);
      this.#bodyBytesLeft -= skipped;
      offset += skipped;
      while (this.#bodyBytesLeft === 0 && offset < bytes.byteLength && this.#headerFilled < headerBytes) {
        this.#header[this.#headerFilled++] = bytes[offset++] as number;
      }
      if (this.#headerFilled < headerBytes) continue;
      this.#headerFilled = 0;
      if (this.#header[1] !== dataType) continue;
      this.#bodyBytesLeft = new DataView(this.#header.buffer).getUint32(8);
      if (this.#bodyBytesLeft > this.#frameBytesMax) return false;
    }
    return true;
  }
}

/** What a stream of yamux knows of its window; it has no public names for it. */
interface ReceivingStream {
  readonly recvWindow: number;
  readonly recvWindowCapacity: number;
  sendWindowUpdate(): void;
}

/**
 * yamux answers every data frame with a frame that gives back what it took of the window, so that each message costs a
 * second one on its way back. Here some of the window is used up first; the first answer is not held back, since it
 * tells the other side that the stream is taken.
 */
export function grantInSteps(stream: ReceivingStream): void {
  const grant = stream.sendWindowUpdate.bind(stream);
  let isAnswered = false;
  stream.sendWindowUpdate = () => {
    if (isAnswered && stream.recvWindow - stream.recvWindowCapacity < grantBytes) return;
    isAnswered = true;
    grant();
  };
}

/** Has something done with every stream that a muxer makes, before it carries anything. */
function withEachStream(muxer: StreamMuxer, each: (stream: ReceivingStream) => void): StreamMuxer {
  // The one place where yamux makes streams, of either side; it is a private method.
  const create = Reflect.get(muxer, '_newStream') as (...args: unknown[]) => ReceivingStream;
  Reflect.set(muxer, '_newStream', (...args: unknown[]) => {
    const stream = create.apply(muxer, args);
    each(stream);
    return stream;
  });
  return muxer;
}

/**
 * yamux gathers a frame as long as its header says, up to 4 GiB, before it looks at its window. Here a
 * connection is dropped on the header of a data frame that is longer than the window ever is. And it gives the window back
 * in larger parts.
 */
export function boundedYamux(init: Parameters<typeof yamux>[0], frameBytesMax: number): () => StreamMuxerFactory {
  return () => {
    const inner = yamux(init)();
    return {
      protocol: inner.protocol,
      createStreamMuxer(connection: MessageStream): StreamMuxer {
        const watch = new YamuxHeaderWatch(frameBytesMax);
        // Listening first, so that yamux sees no byte of what is refused here.
        connection.addEventListener('message', (event) => {
          const pieces = event.data instanceof Uint8Array ? [event.data] : event.data;
          for (const piece of pieces) {
            if (watch.admits(piece)) continue;
            event.stopImmediatePropagation();
            connection.abort(new MeshError('protocol_violation', `a yamux frame of more than ${frameBytesMax} bytes`));
            return;
          }
        });
        const writes = writesBeneath(connection);
        return withEachStream(inner.createStreamMuxer(connection), (stream) => {
          grantInSteps(stream);
          carriedBy(stream, writes);
        });
      },
    };
  };
}
