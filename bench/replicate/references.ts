import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { certificate } from './certificate.ts';

const pieceBytes = 256 * 1_024;
/** Bytes that may wait to be sent: libp2p's streams do not push back by themselves. */
const waitingBytesMax = 1_048_576;

/** Seconds that bare `node:tls` 1.3 takes to carry so many bytes to another process. */
export async function tlsSeconds(bytes: number): Promise<number> {
  return withSink('tls', bytes, async (message) => {
    const { port } = message as { port: number };
    const socket = connect({
      host: '127.0.0.1',
      port,
      ...(await certificate()),
      minVersion: 'TLSv1.3',
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    const startMs = performance.now();
    const piece = Buffer.alloc(pieceBytes, 1);
    const answered = once(socket, 'data');
    for (let sent = 0; sent < bytes; sent += pieceBytes) {
      if (!socket.write(piece.subarray(0, bytes - sent))) await once(socket, 'drain');
    }
    await answered;
    const seconds = (performance.now() - startMs) / 1_000;
    socket.destroy();
    return seconds;
  });
}

/** Seconds that a bare libp2p stream over `@libp2p/tls` takes for the same. */
export async function libp2pSeconds(bytes: number): Promise<number> {
  return withSink('libp2p', bytes, async (message) => {
    const { address } = message as { address: string };
    const node = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [tls()],
      streamMuxers: [yamux()],
    });
    try {
      const stream = await node.dialProtocol(multiaddr(address), '/bench/1.0.0', { maxOutboundStreams: 1 });
      const startMs = performance.now();
      const answered = new Promise((resolve) => stream.addEventListener('message', resolve, { once: true }));
      for (let sent = 0; sent < bytes; sent += pieceBytes) {
        const more = stream.send(Buffer.alloc(Math.min(pieceBytes, bytes - sent), 1));
        if (!more || stream.writeBufferLength > waitingBytesMax) {
          await new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true }));
        }
      }
      await answered;
      return (performance.now() - startMs) / 1_000;
    } finally {
      await node.stop();
    }
  });
}

async function withSink<T>(kind: string, bytes: number, run: (address: unknown) => Promise<T>): Promise<T> {
  const sink: ChildProcess = fork(new URL('./sink.ts', import.meta.url), [kind, String(bytes)]);
  try {
    const [message] = (await once(sink, 'message')) as [unknown];
    return await run(message);
  } finally {
    sink.disconnect();
    await once(sink, 'exit');
  }
}
