import assert from 'node:assert/strict';
import type { PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import type { FrameReceiver, FrameType } from './frames.ts';
import {
  creditFrame,
  creditOf,
  dataFrame,
  dataHeader,
  endFrame,
  FrameDecoder,
  frameType,
  helloFrame,
  messageBytesMax,
  messageCost,
  violation,
} from './frames.ts';

/** The credit each direction starts with, and the most a receiver of this version ever has outstanding. */
export const windowBytes = 1024 * 1024;
/** The most credit a peer may grant altogether: room for a later version to widen its window. */
const creditBytesMax = 2 * windowBytes;
/** Credit goes back in steps of this size, so that small messages do not cost a credit frame each. */
const creditStepBytes = windowBytes / 4;
/** Payloads up to this size are copied behind their header; longer ones are written uncopied. */
const copiedPayloadBytesMax = 16 * 1024;
/** How long a sender waits for the next credit before it gives the stream up. */
const creditTimeoutMs = 30_000;

/** What a `Channel` needs from its node. */
export interface ChannelDependencies {
  readonly clock: Clock;
}

/** Adjustments of a `Channel`. */
export interface ChannelOptions {
  /** Resets the channel when aborted, with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds a sender waits for the next credit; 30 s when absent. */
  readonly creditTimeoutMs?: number;
  /**
   * Hands messages out in the pieces they come in, which spares a copy of all that is received: `receive` gives
   * the next piece of one message or another, at least one byte unless the message is empty, and the borders of
   * messages are lost. For protocols whose messages are but cuts of a stream of bytes.
   */
  readonly piecewise?: boolean;
}

interface WaitingFrame {
  readonly frameType: FrameType;
  readonly message: Uint8Array;
  readonly cost: number;
  resolve(): void;
  reject(error: Error): void;
}

interface Receiver {
  resolve(message: Uint8Array | null): void;
  reject(error: Error): void;
}

const empty = new Uint8Array(0);

/**
 * Messages over a `ByteStream`, both ways, under credits that the receiver grants: a sender never has more
 * than `windowBytes` on its way that the other side's caller has not taken. libp2p streams do not push back,
 * so this is what keeps a slow reader from growing anybody's memory.
 * Errors are `MeshError`: `protocol_violation` (the peer broke the format or overran its credit; the stream
 * is reset), `timeout` (no credit for too long; reset), `stream_failed` (the connection or the peer is gone).
 */
export class Channel {
  readonly remotePeer: PeerId;
  readonly #stream: ByteStream;
  readonly #clock: Clock;
  readonly #creditTimeoutMs: number;
  readonly #decoder: FrameDecoder;
  #failure: Error | undefined;
  #detach: (() => void) | undefined;

  #credit = windowBytes;
  #helloSent = false;
  #ending = false;
  #endSent = false;
  readonly #waiting: WaitingFrame[] = [];
  #cancelCreditTimer: (() => void) | undefined;

  /** What the peer may still send; it is lowered as data arrives and raised with each grant. */
  #granted = windowBytes;
  #toGrant = 0;
  /** Cost of the message the caller took last: it is credited when the caller comes for the next one. */
  #takenCost = 0;
  #endReceived = false;
  readonly #received: { readonly message: Uint8Array; readonly cost: number }[] = [];
  #receiver: Receiver | undefined;

  constructor(stream: ByteStream, dependencies: ChannelDependencies, options: ChannelOptions = {}) {
    this.remotePeer = stream.remotePeer;
    this.#stream = stream;
    this.#clock = dependencies.clock;
    this.#creditTimeoutMs = options.creditTimeoutMs ?? creditTimeoutMs;
    const onFrame: FrameReceiver = (type, payload, cost) => this.#onFrame(type, payload, cost);
    this.#decoder = new FrameDecoder(onFrame, { piecewise: options.piecewise ?? false });
    this.#followSignal(options.signal);
    void this.#pump();
  }

  /**
   * Sends one message of at most `messageBytesMax` bytes, which belong to the channel afterwards. Resolves
   * when it is on its way, after waiting for credit if need be; messages arrive in the order of the calls.
   * Rejects with `MeshError` `too_large`, `timeout` or what failed the channel.
   */
  send(message: Uint8Array): Promise<void> {
    if (message.byteLength > messageBytesMax) {
      return Promise.reject(
        new MeshError('too_large', `a message of ${message.byteLength} bytes, at most ${messageBytesMax} can be sent`),
      );
    }
    return this.#enqueue(frameType.data, message, messageCost(message.byteLength));
  }

  /** Calls back when the memory of the messages whose `send` has resolved so far may be used again; see `ByteStream.onReleased`. */
  onReleased(listener: () => void): void {
    this.#stream.onReleased(listener);
  }

  /**
   * The next message, or null when the peer has ended its side. Taking a message returns the credit of the
   * one before, so a caller that stops taking stops the sender. One call at a time.
   * Rejects with what failed the channel, after the messages that had arrived whole before.
   */
  receive(): Promise<Uint8Array | null> {
    assert(this.#receiver === undefined, 'one receive at a time');
    this.#returnCredit();
    const next = this.#received.shift();
    if (next !== undefined) {
      this.#takenCost = next.cost;
      return Promise.resolve(next.message);
    }
    if (this.#endReceived) return Promise.resolve(null);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject };
    });
  }

  /** Ends this side's sending, after what was sent before; receiving goes on. */
  async end(): Promise<void> {
    const sent = this.#enqueue(frameType.end, empty, 0);
    this.#ending = true;
    await sent;
    this.#endSent = true;
    this.#closeWhenBothEnded();
  }

  /** Drops the channel and its stream at once; pending calls reject with `reason`. May be called at any time. */
  reset(reason: Error): void {
    this.#received.length = 0;
    this.#endReceived = false;
    this.#fail(reason);
  }

  #followSignal(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const onAbort = (): void =>
      this.reset(
        signal.reason instanceof Error
          ? signal.reason
          : new MeshError('stream_failed', 'aborted', { cause: signal.reason }),
      );
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    this.#detach = () => signal.removeEventListener('abort', onAbort);
  }

  #enqueue(type: FrameType, message: Uint8Array, cost: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    assert(!this.#ending, 'a channel is ended once, and nothing is sent after that');
    if (this.#waiting.length === 0 && cost <= this.#credit) return this.#transmit(type, message, cost);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ frameType: type, message, cost, resolve, reject });
      if (this.#waiting.length === 1) this.#startCreditTimer();
    });
  }

  #transmit(type: FrameType, message: Uint8Array, cost: number): Promise<void> {
    this.#credit -= cost;
    if (type === frameType.end) return this.#write(endFrame());
    if (message.byteLength <= copiedPayloadBytesMax) return this.#write(dataFrame(message));
    // The header's fate is the payload's: a failed stream rejects both.
    this.#write(dataHeader(message.byteLength)).catch(() => undefined);
    return this.#write(message);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      if (!this.#helloSent) {
        this.#helloSent = true;
        this.#stream.write(helloFrame()).catch(() => undefined);
      }
      await this.#stream.write(bytes);
    } catch (error) {
      throw this.#fail(asMeshError(error));
    }
  }

  #startCreditTimer(): void {
    this.#cancelCreditTimer?.();
    this.#cancelCreditTimer = this.#clock.setTimer(this.#creditTimeoutMs, () => {
      this.#fail(new MeshError('timeout', `the peer granted no credit for ${this.#creditTimeoutMs} ms`));
    });
  }

  #onCredit(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit > creditBytesMax) throw violation('the peer granted more credit than a stream may have');
    let next = this.#waiting[0];
    if (next === undefined) return;
    while (next !== undefined && next.cost <= this.#credit) {
      this.#waiting.shift();
      this.#transmit(next.frameType, next.message, next.cost).then(next.resolve, next.reject);
      next = this.#waiting[0];
    }
    if (next === undefined) this.#cancelCreditTimer?.();
    else this.#startCreditTimer();
  }

  async #pump(): Promise<void> {
    try {
      for (let bytes = await this.#stream.read(); bytes !== null; bytes = await this.#stream.read())
        this.#decoder.push(bytes);
      this.#onStreamEnd();
    } catch (error) {
      this.#fail(asMeshError(error));
    }
  }

  #onStreamEnd(): void {
    if (!this.#endReceived || !this.#decoder.idle)
      throw new MeshError('stream_failed', 'the peer closed its side in the middle of the exchange');
    // Without the peer's writing side no credit can come any more, so frames that wait for it never leave.
    if (this.#waiting.length > 0)
      throw new MeshError('stream_failed', 'the peer closed its side and took no more messages');
    if (this.#endSent) this.#settle();
  }

  #onFrame(type: FrameType, payload: Uint8Array, cost: number): void {
    // A reset from within a callback leaves bytes of the same piece undecoded; they are dropped here.
    if (this.#failure !== undefined) return;
    if (type === frameType.credit) this.#onCredit(creditOf(payload));
    else if (type === frameType.data) this.#onMessage(payload, cost);
    else if (type === frameType.end) this.#onEnd();
  }

  #onMessage(message: Uint8Array, cost: number): void {
    if (this.#endReceived) throw violation('the peer sent a message after its end');
    if (cost > this.#granted) throw violation('the peer sent more than it had credit for');
    this.#granted -= cost;
    const receiver = this.#receiver;
    if (receiver === undefined) {
      this.#received.push({ message, cost });
      return;
    }
    this.#receiver = undefined;
    this.#takenCost = cost;
    receiver.resolve(message);
  }

  #onEnd(): void {
    if (this.#endReceived) throw violation('the peer ended twice');
    this.#endReceived = true;
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.resolve(null);
    this.#closeWhenBothEnded();
  }

  #returnCredit(): void {
    this.#toGrant += this.#takenCost;
    this.#takenCost = 0;
    if (this.#toGrant < creditStepBytes || this.#endReceived || this.#failure !== undefined) return;
    const grant = this.#toGrant;
    this.#toGrant = 0;
    this.#granted += grant;
    this.#write(creditFrame(grant)).catch(() => undefined);
  }

  /** The stream's writing side stays open for credit frames until the peer has ended too. */
  #closeWhenBothEnded(): void {
    if (!this.#endSent || !this.#endReceived || this.#failure !== undefined) return;
    this.#stream.end().then(
      () => this.#settle(),
      (error: unknown) => this.#fail(asMeshError(error)),
    );
  }

  #settle(): void {
    this.#detach?.();
    this.#detach = undefined;
  }

  #fail(error: Error): Error {
    if (this.#failure !== undefined) return this.#failure;
    this.#failure = error;
    this.#settle();
    this.#cancelCreditTimer?.();
    this.#stream.reset(error);
    for (const frame of this.#waiting.splice(0)) frame.reject(error);
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.reject(error);
    return error;
  }
}

function asMeshError(error: unknown): MeshError {
  return error instanceof MeshError ? error : new MeshError('stream_failed', 'the stream failed', { cause: error });
}
