import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface';
import type { PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { ByteStream } from '../../ports/network.ts';
import { writesBeneath } from './socket-writes.ts';

/** Unread bytes past which a stream is dropped. Credits keep a well-behaved peer at half of it or less. */
const unreadBytesMax = 4 * 1024 * 1024;
/** Unsent bytes past which libp2p drops the stream: more than credits ever let a channel have. */
const unsentBytesMax = 4 * 1024 * 1024;
/** How long a stream may take no more bytes, and how long `end` waits for the last ones to leave. */
const writeStallMs = 30_000;

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/**
 * A libp2p stream as a `ByteStream`. libp2p 3 does not push back: `onDrain()` resolves at once from its
 * second use on, iterating buffers without bound, and `pause()` resets the stream past 4 MiB. So bytes are
 * taken from the `message` event into a bounded queue, and writes wait for the `drain` event under a timeout.
 */
export class Libp2pStream implements ByteStream {
  readonly remotePeer: PeerId;
  readonly #stream: Stream;
  readonly #clock: Clock;
  #failure: Error | undefined;
  #remoteEnded = false;
  #closed = false;
  #closeListener: (() => void) | undefined;
  readonly #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #reader: Waiter<Uint8Array | null> | undefined;
  readonly #writers: Waiter<void>[] = [];
  #cancelStallTimer: (() => void) | undefined;

  constructor(stream: Stream, remotePeer: PeerId, dependencies: { readonly clock: Clock }) {
    this.#stream = stream;
    this.remotePeer = remotePeer;
    this.#clock = dependencies.clock;
    stream.maxWriteBufferLength = unsentBytesMax;
    stream.maxReadBufferLength = unreadBytesMax;
    stream.addEventListener('remoteCloseWrite', () => this.#onRemoteEnd());
    stream.addEventListener('close', (event) => this.#onClose(event));
    stream.addEventListener('drain', () => this.#onDrain());
    stream.addEventListener('message', (event) => this.#onMessage(event));
    if (stream.status !== 'open') this.#onClosed(new MeshError('stream_failed', `the stream is ${stream.status}`));
    else if (stream.remoteWriteStatus === 'closed') this.#remoteEnded = true;
  }

  read(): Promise<Uint8Array | null> {
    const bytes = this.#unread.shift();
    if (bytes !== undefined) {
      this.#unreadBytes -= bytes.byteLength;
      return Promise.resolve(bytes);
    }
    // What had arrived whole is the reader's, however the stream fares afterwards.
    if (this.#remoteEnded && this.#stream.readBufferLength === 0) return Promise.resolve(null);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    try {
      if (this.#stream.send(bytes) || !this.#stream.writableNeedsDrain) return Promise.resolve();
    } catch (error) {
      return Promise.reject(this.#fail(asStreamFailure(error)));
    }
    // A full write buffer makes libp2p drop the stream from within `send`.
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#writers.push({ resolve, reject });
      if (this.#cancelStallTimer === undefined) this.#startStallTimer();
    });
  }

  onReleased(listener: () => void): void {
    // What libp2p has not handed to the socket it may send at any time later.
    if (this.#failure !== undefined || this.#stream.writeBufferLength > 0) return;
    writesBeneath(this.#stream)?.onDone(listener);
  }

  async end(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const cancel = this.#clock.setTimer(writeStallMs, () => {
      this.reset(new MeshError('timeout', `the stream did not end within ${writeStallMs} ms`));
    });
    try {
      await this.#stream.close();
    } catch (error) {
      throw this.#fail(asStreamFailure(error));
    } finally {
      cancel();
    }
  }

  reset(reason: Error): void {
    if (this.#closed) return;
    this.#unread.length = 0;
    this.#unreadBytes = 0;
    this.#remoteEnded = false;
    this.#fail(reason);
  }

  /** Calls back once the stream is closed both ways or has failed. */
  onClosed(listener: () => void): void {
    if (this.#closed) listener();
    else this.#closeListener = listener;
  }

  #onMessage(event: StreamMessageEvent): void {
    const { data } = event;
    if (data instanceof Uint8Array) this.#take(data);
    else for (const piece of data) this.#take(piece);
    if (this.#unreadBytes > unreadBytesMax) {
      this.reset(new MeshError('stream_failed', `more than ${unreadBytesMax} bytes unread`));
    }
  }

  #take(bytes: Uint8Array): void {
    const reader = this.#reader;
    if (reader === undefined) {
      this.#unread.push(bytes);
      this.#unreadBytes += bytes.byteLength;
      return;
    }
    this.#reader = undefined;
    reader.resolve(bytes);
  }

  #onRemoteEnd(): void {
    this.#remoteEnded = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(null);
  }

  #onDrain(): void {
    if (this.#writers.length === 0) return;
    // libp2p sends what it has buffered in a microtask of its own, queued just before this one.
    queueMicrotask(() => {
      if (this.#writers.length === 0) return;
      if (this.#stream.writableNeedsDrain) {
        this.#startStallTimer();
        return;
      }
      this.#stopStallTimer();
      for (const writer of this.#writers.splice(0)) writer.resolve();
    });
  }

  #startStallTimer(): void {
    this.#stopStallTimer();
    this.#cancelStallTimer = this.#clock.setTimer(writeStallMs, () => {
      this.reset(new MeshError('timeout', `the stream took no more bytes for ${writeStallMs} ms`));
    });
  }

  #stopStallTimer(): void {
    this.#cancelStallTimer?.();
    this.#cancelStallTimer = undefined;
  }

  #onClose(event: StreamCloseEvent): void {
    // A connection that is closed politely closes its streams without an error, cut short or not.
    const message = this.#remoteEnded ? 'the stream is closed' : 'the peer reset the stream, or its connection is gone';
    this.#onClosed(new MeshError('stream_failed', message, { cause: event.error }));
  }

  #onClosed(failure: Error): void {
    this.#failure ??= failure;
    this.#closed = true;
    this.#stopStallTimer();
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(this.#failure);
    for (const writer of this.#writers.splice(0)) writer.reject(this.#failure);
    this.#closeListener?.();
    this.#closeListener = undefined;
  }

  #fail(error: Error): Error {
    this.#failure ??= error;
    // Aborting is what closes: libp2p answers with a `close` event before it returns.
    this.#stream.abort(this.#failure);
    if (!this.#closed) this.#onClosed(this.#failure);
    return this.#failure;
  }
}

function asStreamFailure(error: unknown): MeshError {
  return error instanceof MeshError ? error : new MeshError('stream_failed', 'the stream failed', { cause: error });
}
