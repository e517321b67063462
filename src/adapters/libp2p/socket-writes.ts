import type { Writable } from 'node:stream';

/** Longer pieces are written by themselves, since gathering them would mean to copy them. */
const gatheredBytesMax = 32 * 1024;

type Write = (bytes: Uint8Array, done: (error?: Error | null) => void) => boolean;

/**
 * Has what is written in one turn of the event loop leave as one TLS record and one system call: every frame of the muxer
 * comes in two pieces at least, and a turn often has frames of several streams. Gives what is known of the writes.
 * `heldBytes` tells how much whoever writes has been given and not written yet: it is written next, in its order.
 */
export function gatherWrites(socket: Writable, heldBytes: () => number): SocketWrites {
  const write = socket.write.bind(socket) as Write;
  const writes = new SocketWrites(heldBytes);
  let isGathering = false;
  const endTurn = (): void => {
    isGathering = false;
    socket.uncork();
  };
  socket.write = (bytes: Uint8Array): boolean => {
    const { byteLength } = bytes;
    writes.begin(byteLength);
    const done = (error?: Error | null): void => writes.end(byteLength, error);
    if (byteLength > gatheredBytesMax) {
      // What came before it stays before it.
      socket.uncork();
      return write(bytes, done);
    }
    if (!isGathering) {
      isGathering = true;
      socket.cork();
      process.nextTick(endTurn);
    }
    return write(bytes, done);
  };
  return writes;
}

/** Counts the bytes that are written to one socket, which ends its writes in their order. */
export class SocketWrites {
  readonly #heldBytes: () => number;
  #begunBytes = 0;
  #endedBytes = 0;
  /** Each waits for the end of the writes of so many bytes. */
  readonly #waiting: { readonly bytes: number; readonly listener: () => void }[] = [];

  constructor(heldBytes: () => number) {
    this.#heldBytes = heldBytes;
  }

  /**
   * Calls back, at once or later, when the socket reads nothing any more of what it was given so far, and what was held back
   * from it so far neither; never once it has failed.
   */
  onDone(listener: () => void): void {
    const bytes = this.#begunBytes + this.#heldBytes();
    if (this.#endedBytes === bytes) listener();
    else this.#waiting.push({ bytes, listener });
  }

  begin(sizeBytes: number): void {
    this.#begunBytes += sizeBytes;
  }

  end(sizeBytes: number, error?: Error | null): void {
    // A socket that fails may have stopped anywhere; whoever waits waits for ever.
    if (error !== undefined && error !== null) return;
    this.#endedBytes += sizeBytes;
    while ((this.#waiting[0]?.bytes ?? Number.POSITIVE_INFINITY) <= this.#endedBytes) this.#waiting.shift()?.listener();
  }
}

/** The writes beneath a connection, and beneath each stream on it. */
const writesOf = new WeakMap<object, SocketWrites>();

/** Notes that whatever leaves by the connection or stream is written to that socket, or is what its writes count as held. */
export function carriedBy(upper: object, writes: SocketWrites | undefined): void {
  if (writes !== undefined) writesOf.set(upper, writes);
}

/** What is known of the writes to the socket beneath a connection or stream; undefined where there is no such socket. */
export function writesBeneath(upper: object): SocketWrites | undefined {
  return writesOf.get(upper);
}
