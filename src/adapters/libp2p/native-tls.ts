import { Socket } from 'node:net';
import type { TLSSocketOptions } from 'node:tls';
import { connect, TLSSocket } from 'node:tls';
import type {
  ConnectionEncrypter,
  MessageStream,
  SecureConnectionOptions,
  SecuredConnection,
  StreamMuxerFactory,
} from '@libp2p/interface';
import type { TLSComponents } from '@libp2p/tls';
import { tls } from '@libp2p/tls';
import { generateCertificate, toMessageStream, verifyPeerCertificate } from '@libp2p/tls/utils';
import { gatherReads } from './socket-reads.ts';
import { carriedBy, gatherWrites } from './socket-writes.ts';

/**
 * libp2p's TLS 1.3, the very protocol of `@libp2p/tls` (its certificates, its checks, its early choice of the
 * muxer), but with Node's TLS directly on the TCP socket. `@libp2p/tls` puts it on a JavaScript stream above
 * the socket, which costs half the throughput. A connection that has no TCP socket beneath it is left to `@libp2p/tls`.
 */
export function nativeTls(): (components: TLSComponents) => ConnectionEncrypter {
  return (components) => new NativeTls(components);
}

/** What a peer that chooses no muxer in the handshake puts in its place. */
const withoutMuxer = 'libp2p';

type Direction = 'inbound' | 'outbound';

class NativeTls implements ConnectionEncrypter {
  readonly protocol: string;
  readonly #components: TLSComponents;
  readonly #fallback: ConnectionEncrypter;

  constructor(components: TLSComponents) {
    this.#components = components;
    this.#fallback = tls()(components);
    this.protocol = this.#fallback.protocol;
  }

  secureInbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    const socket = socketBeneath(connection);
    if (socket === undefined) return this.#fallback.secureInbound(connection, options);
    return this.#secure(connection, socket, 'inbound', options);
  }

  secureOutbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    const socket = socketBeneath(connection);
    if (socket === undefined) return this.#fallback.secureOutbound(connection, options);
    return this.#secure(connection, socket, 'outbound', options);
  }

  async #secure(
    connection: MessageStream,
    socket: Socket,
    direction: Direction,
    options: SecureConnectionOptions = {},
  ): Promise<SecuredConnection> {
    // From here on the bytes of the TCP socket are TLS's, not the connection's: what comes while the
    // certificate is being made waits in the paused socket, and the TLS socket takes it from there.
    socket.pause();
    socket.removeAllListeners('data');
    const muxers: ReadonlyMap<string, StreamMuxerFactory> =
      options.skipStreamMuxerNegotiation === true ? new Map() : this.#components.upgrader.getStreamMuxers();
    const certificate = await generateCertificate(this.#components.privateKey, options);
    const secured = startTls(socket, direction, certificate, muxers);
    try {
      await handshake(secured, options.signal);
      const { raw } = secured.getPeerCertificate();
      const remotePeer = await verifyPeerCertificate(raw, options.remotePeer, connection.log);
      const streamMuxer = muxers.get(secured.alpnProtocol || withoutMuxer);
      const stream = toMessageStream(connection, secured);
      gatherReads(secured, stream);
      // The stream keeps what it is given while the socket is full, though it tells the muxer that it has sent it.
      carriedBy(
        stream,
        gatherWrites(secured, () => stream.writeBufferLength),
      );
      return { connection: stream, remotePeer, ...(streamMuxer === undefined ? {} : { streamMuxer }) };
    } catch (error) {
      secured.destroy();
      throw error;
    }
  }
}

function startTls(
  socket: Socket,
  direction: Direction,
  certificate: { readonly cert: string; readonly key: string },
  muxers: ReadonlyMap<string, StreamMuxerFactory>,
): TLSSocket {
  const options: TLSSocketOptions = {
    ...certificate,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // The certificate is self-signed: what counts is its extension, which the peer's own key has signed.
    rejectUnauthorized: false,
  };
  if (direction === 'outbound') return connect({ ...options, socket, ALPNProtocols: [...muxers.keys(), withoutMuxer] });
  return new TLSSocket(socket, {
    ...options,
    isServer: true,
    requestCert: true,
    ALPNCallback: ({ protocols }) => protocols.find((name) => muxers.has(name) || name === withoutMuxer),
  });
}

function handshake(socket: TLSSocket, signal: AbortSignal | undefined): Promise<void> {
  // A socket that fails once it is given up must not take the process with it.
  socket.on('error', () => undefined);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => fail(signal?.reason);
    const onClose = (): void => fail(new Error('the connection was closed during the TLS handshake'));
    const onSecure = (): void => {
      stopListening();
      // Node crashes when the TCP socket and then its TLS socket are destroyed from within this callback,
      // promises included; a gater that refuses the peer would do just that. So the callback is left first.
      setImmediate(resolve);
    };
    const fail = (error: unknown): void => {
      stopListening();
      reject(error);
    };
    const stopListening = (): void => {
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', fail).off('close', onClose).off('secure', onSecure);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('error', fail).once('close', onClose).once('secure', onSecure);
    if (signal?.aborted === true) onAbort();
    else if (socket.destroyed) onClose();
  });
}

/**
 * The TCP socket of a connection as `@libp2p/tcp` makes it, where it is a private field. A peer that sends
 * bytes before its turn has them buffered in the connection, where only `@libp2p/tls` finds them.
 */
function socketBeneath(connection: MessageStream): Socket | undefined {
  const socket: unknown = Reflect.get(connection, 'socket');
  if (!(socket instanceof Socket) || socket instanceof TLSSocket || connection.readBufferLength > 0) return undefined;
  return socket;
}
