import { createServer } from 'node:tls';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { certificate } from './certificate.ts';

/**
 * The far end of the references, as a process of its own: takes bytes in and says when it has them all.
 * `sink.ts tls BYTES` listens with bare `node:tls`, `sink.ts libp2p BYTES` with a bare libp2p stream.
 */
const [kind, size] = process.argv.slice(2);
const expected = Number(size);

let received = 0;
const take = (bytes: number, answer: () => void): void => {
  received += bytes;
  if (received === expected) answer();
};

if (kind === 'tls') {
  const server = createServer({ ...(await certificate()), minVersion: 'TLSv1.3' }, (socket) => {
    socket.on('data', (data) => take(data.length, () => socket.end('done')));
  });
  server.listen(0, '127.0.0.1', () => process.send?.(server.address()));
} else {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
  });
  await node.handle('/bench/1.0.0', (stream) => {
    stream.addEventListener('message', ({ data }) => {
      take(data.byteLength, () => stream.send(Buffer.from('done')));
    });
  });
  process.send?.({ address: String(node.getMultiaddrs()[0]) });
}
process.once('disconnect', () => process.exit());
