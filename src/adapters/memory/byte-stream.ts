import assert from 'node:assert/strict';
import type { PeerId } from '../../../crdt/ids.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { ByteStream } from '../../ports/network.ts';

/** Unread bytes past which a stream is dropped, as the production adapter does: credits keep well below. */
const unreadBytesMax = 4 * 1024 * 1024;
/** Bytes on their way past which `write` waits. */
const inFlightBytesMax = 1024 * 1024;

/** Carries something to the other end after the link's delay, in order; never, when the link is cut. `apart` by itself. */
export type Carry = (sizeBytes: number, arrive: () => void, apart: boolean) => void;

export interface StreamHooks {
  /** Called once, when the stream has ended both ways or failed. */
  onClosed(): void;
  /** Where what is written is torn in two that travel by themselves; 0 leaves it whole. */
  splitAt(sizeBytes: number): number;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/** One end of a stream between two nodes of a `MemoryHub`. */
export class MemoryStream implements ByteStream {
  readonly remotePeer: PeerId;
  readonly #carry: Carry;
  readonly #hooks: StreamHooks;
  #other: MemoryStream | undefined;
  #failureListener: ((reason: Error) => void) | undefined;
  #failure: Error | undefined;
  #ended = false;
  #remoteEnded = false;
  #inFlightBytes = 0;
  #arrivedBytes = 0;
  /** Who waits for the arrival of so many bytes in all. */
  readonly #releases: { readonly bytes: number; readonly listener: () => void }[] = [];
  #unreadBytes = 0;
  readonly #unread: Uint8Array[] = [];
  readonly #writers: Waiter<void>[] = [];
  #reader: Waiter<Uint8Array | null> | undefined;

  constructor(remotePeer: PeerId, carry: Carry, hooks: StreamHooks) {
    this.remotePeer = remotePeer;
    this.#carry = carry;
    this.#hooks = hooks;
  }

  /** Makes two ends one stream. */
  static join(a: MemoryStream, b: MemoryStream): void {
    a.#other = b;
    b.#other = a;
  }

  read(): Promise<Uint8Array | null> {
    assert(this.#reader === undefined, 'one read at a time');
    const bytes = this.#unread.shift();
    if (bytes !== undefined) {
      this.#unreadBytes -= bytes.byteLength;
      return Promise.resolve(bytes);
    }
    // What had arrived whole is the reader's, however the stream fares afterwards.
    if (this.#remoteEnded) return Promise.resolve(null);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    assert(!this.#ended, 'nothing is written after the end');
    if (bytes.byteLength === 0) return Promise.resolve();
    this.#inFlightBytes += bytes.byteLength;
    const cut = this.#hooks.splitAt(bytes.byteLength);
    for (const piece of cut > 0 ? [bytes.subarray(0, cut), bytes.subarray(cut)] : [bytes]) {
      const arrive = (): void => {
        // A copy, as on a network: the writer may use its memory again from here on.
        this.#other?.arrive(piece.slice());
        this.#onArrived(piece.byteLength);
      };
      this.#carry(piece.byteLength, arrive, cut > 0);
    }
    if (this.#inFlightBytes <= inFlightBytesMax) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writers.push({ resolve, reject });
    });
  }

  onReleased(listener: () => void): void {
    if (this.#failure !== undefined) return;
    if (this.#inFlightBytes === 0) listener();
    else this.#releases.push({ bytes: this.#arrivedBytes + this.#inFlightBytes, listener });
  }

  end(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve();
    this.#ended = true;
    this.#carry(0, () => this.#other?.arriveEnd(), false);
    this.#closeWhenBothEnded();
    return Promise.resolve();
  }

  reset(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#unread.length = 0;
    this.#unreadBytes = 0;
    this.#remoteEnded = false;
    this.fail(reason);
    this.#carry(0, () => this.#other?.fail(new MeshError('stream_failed', 'the peer reset the stream')), false);
  }

  /** Fails this end alone: the link is gone, or the other end reset the stream. */
  fail(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(reason);
    for (const writer of this.#writers.splice(0)) writer.reject(reason);
    this.#failureListener?.(reason);
    this.#hooks.onClosed();
  }

  onFailure(listener: (reason: Error) => void): void {
    this.#failureListener = listener;
  }

  arrive(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve(bytes);
      return;
    }
    this.#unread.push(bytes);
    this.#unreadBytes += bytes.byteLength;
    if (this.#unreadBytes > unreadBytesMax)
      this.reset(new MeshError('stream_failed', `more than ${unreadBytesMax} bytes unread`));
  }

  arriveEnd(): void {
    if (this.#failure !== undefined) return;
    this.#remoteEnded = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(null);
    this.#closeWhenBothEnded();
  }

  #onArrived(sizeBytes: number): void {
    this.#inFlightBytes -= sizeBytes;
    this.#arrivedBytes += sizeBytes;
    while ((this.#releases[0]?.bytes ?? Number.POSITIVE_INFINITY) <= this.#arrivedBytes)
      this.#releases.shift()?.listener();
    if (this.#inFlightBytes > inFlightBytesMax) return;
    for (const writer of this.#writers.splice(0)) writer.resolve();
  }

  #closeWhenBothEnded(): void {
    if (this.#ended && this.#remoteEnded) this.#hooks.onClosed();
  }
}
