import type { PeerId } from '../../crdt/ids.ts';
import type { ByteStream } from '../ports/network.ts';

/** A stream that counts what goes through it. */
export class CountedStream implements ByteStream {
  readonly remotePeer: PeerId;
  readonly #stream: ByteStream;
  readonly #count: (sentBytes: number, receivedBytes: number) => void;

  constructor(stream: ByteStream, count: (sentBytes: number, receivedBytes: number) => void) {
    this.remotePeer = stream.remotePeer;
    this.#stream = stream;
    this.#count = count;
  }

  async read(): Promise<Uint8Array | null> {
    const bytes = await this.#stream.read();
    if (bytes !== null) this.#count(0, bytes.length);
    return bytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#count(bytes.length, 0);
    return this.#stream.write(bytes);
  }

  onReleased(listener: () => void): void {
    this.#stream.onReleased(listener);
  }

  end(): Promise<void> {
    return this.#stream.end();
  }

  reset(reason: Error): void {
    this.#stream.reset(reason);
  }
}
