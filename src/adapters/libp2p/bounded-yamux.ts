import type { MessageStream, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface';
import { yamux } from '@libp2p/yamux';
import { MeshError } from '../../ports/mesh-error.ts';

/** yamux's header: version, type, flags (2), stream (4), length (4). */
const headerBytes = 12;
const dataType = 0;

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

/**
 * yamux gathers a frame as long as its header says, up to 4 GiB, before it looks at its window. Here a
 * connection is dropped on the header of a data frame that is longer than the window ever is.
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
        return inner.createStreamMuxer(connection);
      },
    };
  };
}
