import type { Writable } from 'node:stream';

/** Longer pieces are written by themselves, since gathering them would mean to copy them. */
const gatheredBytesMax = 32 * 1024;

type Write = (bytes: Uint8Array, done: (error?: Error | null) => void) => boolean;

/**
 * Has what is written in one turn of the event loop leave as one TLS record and one system call: every frame of the muxer
 * comes in two pieces at least, and a turn often has frames of several streams. Gives what is known of the writes.
 */
export function gatherWrites(socket: Writable): SocketWrites {
  const write = socket.write.bind(socket) as Write;
  const writes = new SocketWrites();
  let isGathering = false;
  const endTurn = (): void => {
    isGathering = false;
    socket.uncork();
  };
  socket.write = (bytes: Uint8Array): boolean => {
    writes.begin();
    if (bytes.byteLength > gatheredBytesMax) {
      // What came before it stays before it.
      socket.uncork();
      return write(bytes, writes.end);
    }
    if (!isGathering) {
      isGathering = true;
      socket.cork();
      process.nextTick(endTurn);
    }
    return write(bytes, writes.end);
  };
  return writes;
}

/** Counts the writes to one socket, which ends them in their order. */
export class SocketWrites {
  #begun = 0;
  #ended = 0;
  /** Each waits for the end of so many writes. */
  readonly #waiting: { readonly writes: number; readonly listener: () => void }[] = [];

  /** Calls back, at once or later, when the socket reads nothing any more that was written to it so far; never once it has failed. */
  onDone(listener: () => void): void {
    if (this.#ended === this.#begun) listener();
    else this.#waiting.push({ writes: this.#begun, listener });
  }

  begin(): void {
    this.#begun += 1;
  }

  readonly end = (error?: Error | null): void => {
    // A socket that fails may have stopped anywhere; whoever waits waits for ever.
    if (error !== undefined && error !== null) return;
    this.#ended += 1;
    while ((this.#waiting[0]?.writes ?? Number.POSITIVE_INFINITY) <= this.#ended) this.#waiting.shift()?.listener();
  };
}

/** The writes beneath a connection, and beneath each stream on it. */
const writesOf = new WeakMap<object, SocketWrites>();

/** Notes that whatever leaves by the connection or stream is written to that socket, without being kept elsewhere. */
export function carriedBy(upper: object, writes: SocketWrites | undefined): void {
  if (writes !== undefined) writesOf.set(upper, writes);
}

/** What is known of the writes to the socket beneath a connection or stream; undefined where there is no such socket. */
export function writesBeneath(upper: object): SocketWrites | undefined {
  return writesOf.get(upper);
}
