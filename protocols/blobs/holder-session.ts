import { blobHashOf } from '../../crdt/digest.ts';
import type { BlobHash, PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Network } from '../../src/ports/network.ts';
import { Channel } from '../wire/channel.ts';
import { AnswerParser } from './answers.ts';
import type { BufferPool } from './buffer-pool.ts';
import { blobsProtocol, wantHashesMax } from './limits.ts';
import { encodeWant } from './messages.ts';

/** A blob to fetch. */
export interface BlobWant {
  readonly hash: BlobHash;
  /** Its size as far as is known: it decides how many are asked at once, not what is accepted. */
  readonly sizeBytes: number;
}

/** What a session needs, and whom it tells. */
export interface HolderSessionDependencies {
  readonly network: Pick<Network, 'open'>;
  readonly clock: Clock;
  /** Where the buffers of blobs come from. */
  readonly buffers: BufferPool;
  /** When storage is behind: a promise to wait for before more is taken from the peer. */
  room(): Promise<void> | undefined;
  /** After so many bytes: a promise to wait for before more is taken from the peer, when the rate is limited. */
  pace(bytes: number): Promise<void> | undefined;
  /** The holder has answered: verified bytes, or undefined when it lacks the blob. */
  onAnswer(want: BlobWant, blob: Uint8Array<ArrayBuffer> | undefined): void;
  /** A want on a quiet stream met its first byte after so long. */
  onLatency(latencyMs: number): void;
  /** So many bytes came after so long a wait on a busy stream. */
  onThroughput(bytes: number, waitedMs: number): void;
  /** The session is over. `unanswered` were asked and will not be answered. Called once. */
  onEnd(error: MeshError | undefined, unanswered: readonly BlobWant[]): void;
}

/** A holder that owes us answers must send this much in each stretch of `stallMs`, or is given up. */
const stallBytesMin = 4 * 1024;
const stallMs = 5_000;
/** How long a holder may take to end its side of a quiet session after us. */
const closeMs = 5_000;

/**
 * The asking end of one stream to one holder: wants go out as they come, many to a message, and answers
 * arrive in the same order. Every blob is verified here, so nothing unverified leaves this class.
 */
export class HolderSession {
  readonly peer: PeerId;
  /** Bytes asked and not answered yet, by the wants' expected sizes. */
  outstandingBytes = 0;
  /** Monotonic point at which bytes last arrived, or the session began to owe some. */
  lastProgressMs: number;
  readonly #dependencies: HolderSessionDependencies;
  readonly #abort = new AbortController();
  readonly #parser: AnswerParser;
  #channel: Channel | undefined;
  #asked: BlobWant[] = [];
  #answered = 0;
  #unsent: BlobHash[] = [];
  #flushPlanned = false;
  #awaitsFirstByte = false;
  #stretchStartMs: number;
  #stretchBytes = 0;
  /** Storage is behind: the holder is not to blame for what does not arrive. */
  #waitsForRoom = false;
  /** Bytes taken since they were last reckoned against the rate. */
  #takenBytes = 0;
  #over = false;
  #cancelCloseTimer: (() => void) | undefined;

  constructor(peer: PeerId, dependencies: HolderSessionDependencies) {
    this.peer = peer;
    this.#dependencies = dependencies;
    this.#parser = new AnswerParser(dependencies.buffers, (blob) => this.#onAnswer(blob));
    this.lastProgressMs = dependencies.clock.monotonicMs();
    this.#stretchStartMs = this.lastProgressMs;
    void this.#run();
  }

  /** Wants asked and not answered yet. */
  get outstanding(): number {
    return this.#asked.length - this.#answered;
  }

  /** Asks for a blob; wants of one turn of the event loop share a message. */
  ask(want: BlobWant): void {
    if (this.outstanding === 0) {
      this.lastProgressMs = this.#dependencies.clock.monotonicMs();
      this.#stretchStartMs = this.lastProgressMs;
      this.#stretchBytes = 0;
      this.#awaitsFirstByte = true;
    }
    this.#asked.push(want);
    this.outstandingBytes += want.sizeBytes;
    this.#unsent.push(want.hash);
    if (this.#channel === undefined || this.#flushPlanned) return;
    this.#flushPlanned = true;
    queueMicrotask(() => this.#flush());
  }

  /** Ends the session when the holder is silent or all but silent. Called every so often. */
  checkStall(): void {
    const nowMs = this.#dependencies.clock.monotonicMs();
    if (this.outstanding === 0 || nowMs - this.#stretchStartMs < stallMs) return;
    if (this.#stretchBytes < stallBytesMin && !this.#waitsForRoom) {
      this.end(new MeshError('timeout', `the holder sent ${this.#stretchBytes} bytes in ${stallMs} ms`));
      return;
    }
    this.#stretchStartMs = nowMs;
    this.#stretchBytes = 0;
  }

  /** Closes a quiet session; one that still owes answers, or is closed with an error, is reset. */
  end(error?: MeshError): void {
    if (this.#over) return;
    this.#over = true;
    const unanswered = this.#asked.slice(this.#answered);
    this.#asked = [];
    this.#answered = 0;
    this.outstandingBytes = 0;
    if (error === undefined && unanswered.length === 0 && this.#channel !== undefined) {
      this.#channel.end().catch(() => undefined);
      const late = new MeshError('timeout', `the holder did not end its side within ${closeMs} ms`);
      this.#cancelCloseTimer = this.#dependencies.clock.setTimer(closeMs, () => this.#abort.abort(late));
    } else {
      this.#abort.abort(error ?? new MeshError('shutting_down', 'the transfer was ended'));
    }
    this.#dependencies.onEnd(error, unanswered);
  }

  async #run(): Promise<void> {
    try {
      const { signal } = this.#abort;
      const stream = await this.#dependencies.network.open(this.peer, blobsProtocol, signal);
      this.#channel = new Channel(stream, { clock: this.#dependencies.clock }, { signal, piecewise: true });
      signal.throwIfAborted();
      this.#flush();
      while (await this.#takeMessage(this.#channel)) await this.#waitForRoom();
      if (this.outstanding > 0)
        throw new MeshError('stream_failed', 'the holder ended the stream before it had answered');
      // The holder has ended first: this side ends too, so that the stream closes.
      this.end();
    } catch (error) {
      this.end(
        error instanceof MeshError ? error : new MeshError('stream_failed', 'the transfer failed', { cause: error }),
      );
    } finally {
      this.#cancelCloseTimer?.();
    }
  }

  async #waitForRoom(): Promise<void> {
    const room = this.#dependencies.room();
    const pace = this.#takenBytes === 0 ? undefined : this.#dependencies.pace(this.#takenBytes);
    this.#takenBytes = 0;
    if (room === undefined && pace === undefined) return;
    this.#waitsForRoom = true;
    await room;
    await pace;
    this.#waitsForRoom = false;
    // What was waited for here is not the holder's doing.
    this.#stretchStartMs = this.#dependencies.clock.monotonicMs();
    this.#stretchBytes = 0;
  }

  async #takeMessage(channel: Channel): Promise<boolean> {
    const waitedFromMs = this.#dependencies.clock.monotonicMs();
    const message = await channel.receive();
    if (message === null) return false;
    // What was under way when the session ended is nobody's any more.
    if (this.#over) return true;
    const nowMs = this.#dependencies.clock.monotonicMs();
    if (this.#awaitsFirstByte) this.#dependencies.onLatency(nowMs - this.lastProgressMs);
    else this.#dependencies.onThroughput(message.length, nowMs - waitedFromMs);
    this.#awaitsFirstByte = false;
    this.lastProgressMs = nowMs;
    this.#stretchBytes += message.length;
    this.#takenBytes += message.length;
    this.#parser.push(message);
    return true;
  }

  #onAnswer(blob: Uint8Array<ArrayBuffer> | undefined): void {
    const want = this.#asked[this.#answered];
    if (want === undefined) throw new MeshError('protocol_violation', 'the holder sent what was not asked for');
    if (blob !== undefined && blobHashOf(blob) !== want.hash) {
      throw new MeshError('protocol_violation', 'the holder sent bytes that do not match their hash', {
        detail: { hash: want.hash },
      });
    }
    this.#answered += 1;
    this.outstandingBytes -= want.sizeBytes;
    if (this.#answered === this.#asked.length || this.#answered > wantHashesMax) {
      this.#asked.splice(0, this.#answered);
      this.#answered = 0;
    }
    this.#dependencies.onAnswer(want, blob);
  }

  #flush(): void {
    this.#flushPlanned = false;
    const channel = this.#channel;
    if (channel === undefined || this.#over) return;
    while (this.#unsent.length > 0) {
      const message = encodeWant(this.#unsent.splice(0, wantHashesMax));
      channel.send(message).catch(() => undefined);
    }
  }
}
