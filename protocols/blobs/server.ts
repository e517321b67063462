import type { BlobHash } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { Channel } from '../wire/channel.ts';
import { AnswerPacker } from './answers.ts';
import { decodeWant } from './messages.ts';
import { limitedPieceBytes, type RateLimiter } from './rate-limit.ts';

/** Blobs read ahead of the one being sent, a stream: enough to overlap disk and network. */
const readsAheadMax = 8;

/** What the serving end needs from its node. */
export interface BlobServerDependencies {
  readonly clock: Clock;
  /** The verified bytes of a stored blob, or undefined when it is not stored (or no longer intact). */
  read(hash: BlobHash): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Takes back what `read` gave: nobody reads it any more. Not called for everything. */
  release(blob: Uint8Array): void;
  /** Room for one more read ahead in the whole node; false makes this stream read one blob at a time. */
  tryReadAhead(): boolean;
  /** Gives back what `tryReadAhead` granted. */
  endReadAhead(): void;
  /** What may be sent a second, when that is limited. */
  readonly upload?: RateLimiter | undefined;
  /** Counts bytes of content handed to a peer. */
  served(bytes: number): void;
}

type Blob = Uint8Array | undefined;

interface Read {
  readonly ahead: boolean;
  /** Set once the read has settled well. */
  settled: { readonly blob: Blob } | undefined;
  readonly result: Promise<Blob>;
}

/**
 * Serves one stream: answers each want in order, and resolves when the peer has ended its side.
 * Memory is bounded by the reads ahead and the channel's credits, however slowly the peer reads.
 * Rejects (with the stream reset) with `MeshError` `protocol_violation` for a malformed want, with what a
 * read rejected with, or with what failed the channel.
 */
export async function serveBlobs(
  stream: ByteStream,
  dependencies: BlobServerDependencies,
  signal?: AbortSignal,
): Promise<void> {
  const channel = new Channel(stream, { clock: dependencies.clock }, signal === undefined ? {} : { signal });
  const session = new ServingSession(channel, dependencies);
  try {
    await session.run();
    await channel.end();
  } catch (error) {
    channel.reset(error instanceof Error ? error : new MeshError('stream_failed', 'serving failed', { cause: error }));
    throw error;
  } finally {
    session.release();
  }
}

class ServingSession {
  readonly #channel: Channel;
  readonly #dependencies: BlobServerDependencies;
  readonly #packer: AnswerPacker;
  #wants: readonly BlobHash[] = [];
  #wantsTaken = 0;
  readonly #reads: Read[] = [];

  constructor(channel: Channel, dependencies: BlobServerDependencies) {
    this.#channel = channel;
    this.#dependencies = dependencies;
    const { upload } = dependencies;
    this.#packer =
      upload === undefined
        ? new AnswerPacker((message) => channel.send(message))
        : new AnswerPacker(async (message) => {
            await upload.take(channel.remotePeer, message.length);
            await channel.send(message);
          }, limitedPieceBytes);
  }

  /** Wants are taken one message ahead, so that reads of the next overlap the sending of this one. */
  async run(): Promise<void> {
    let arrived: { readonly message: Uint8Array | null } | undefined;
    const take = async (): Promise<void> => {
      arrived = { message: await this.#channel.receive() };
    };
    let incoming = take();
    incoming.catch(() => undefined);
    for (;;) {
      this.#readAhead();
      const read = this.#reads.shift();
      if (read !== undefined) {
        await this.#answer(read);
      } else {
        await this.#packer.flush();
        await incoming;
      }
      if (arrived === undefined || this.#wantsTaken < this.#wants.length) continue;
      if (arrived.message === null) {
        if (this.#reads.length === 0) break;
        continue;
      }
      this.#takeWants(arrived.message);
      arrived = undefined;
      incoming = take();
      incoming.catch(() => undefined);
    }
    await this.#packer.flush();
  }

  /** Gives back the room of reads that nobody will take any more. */
  release(): void {
    for (const read of this.#reads.splice(0)) if (read.ahead) this.#dependencies.endReadAhead();
  }

  #takeWants(message: Uint8Array): void {
    const wants = decodeWant(message);
    if (!wants.ok) throw new MeshError('protocol_violation', `the peer sent ${wants.error}`);
    this.#wants = wants.value;
    this.#wantsTaken = 0;
  }

  #readAhead(): void {
    while (this.#reads.length < readsAheadMax && this.#wantsTaken < this.#wants.length) {
      const ahead = this.#reads.length > 0;
      if (ahead && !this.#dependencies.tryReadAhead()) return;
      this.#reads.push(this.#startRead(this.#wants[this.#wantsTaken++] as BlobHash, ahead));
    }
  }

  #startRead(hash: BlobHash, ahead: boolean): Read {
    const started = this.#dependencies.read(hash);
    if (!(started instanceof Promise)) return { ahead, settled: { blob: started }, result: Promise.resolve(started) };
    const read: Read = { ahead, settled: undefined, result: started };
    started.then(
      (blob) => {
        read.settled = { blob };
      },
      () => undefined,
    );
    return read;
  }

  async #answer(read: Read): Promise<void> {
    try {
      if (read.settled === undefined) await this.#packer.flush();
      const blob = read.settled === undefined ? await read.result : read.settled.blob;
      const isHandedOn = await this.#packer.answer(blob);
      this.#dependencies.served(blob?.length ?? 0);
      if (blob !== undefined && isHandedOn) this.#channel.onReleased(() => this.#dependencies.release(blob));
    } finally {
      if (read.ahead) this.#dependencies.endReadAhead();
    }
  }
}
