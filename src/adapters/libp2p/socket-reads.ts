import type { EventEmitter } from 'node:events';

/** What a TLS record has at most. Whoever sends more fills them, so behind one that is full there is likely to be another. */
const recordBytesMax = 16 * 1024;
/** What has come is handed on when it is so much, however much more there is. */
const gatheredBytesMax = 128 * 1024;

/** What libp2p's stream over a socket takes the bytes with; it has no public names for it. */
interface RecordStream {
  readonly readStatus: string;
  readonly readBuffer: { readonly byteLength: number; append(bytes: Uint8Array): void };
  onData(bytes: Uint8Array): void;
  dispatchReadBuffer(): void;
}

/**
 * Has the full TLS records of a turn of the event loop go up together, as pieces of one message: each way through libp2p
 * and the muxer costs more than the bytes that it takes along. One that is not full goes up at once, with those before it,
 * so that a short message never waits.
 */
export function gatherReads(socket: EventEmitter, upper: object): void {
  const stream = upper as RecordStream;
  const handOn = stream.onData.bind(stream);
  let isPlanned = false;
  const endTurn = (): void => {
    isPlanned = false;
    if (stream.readBuffer.byteLength > 0) stream.dispatchReadBuffer();
  };
  stream.onData = (bytes) => {
    const isLastOfMany = stream.readBuffer.byteLength + bytes.byteLength >= gatheredBytesMax;
    if (bytes.byteLength < recordBytesMax || isLastOfMany || stream.readStatus !== 'readable') {
      handOn(bytes);
      return;
    }
    stream.readBuffer.append(bytes);
    if (isPlanned) return;
    isPlanned = true;
    setImmediate(endTurn);
  };
  // What came before the end is handed on before it.
  for (const event of ['error', 'close']) socket.prependListener(event, endTurn);
}
