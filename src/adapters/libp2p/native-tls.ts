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

/**
 * libp2p's TLS 1.3, the very protocol of `@libp2p/tls` (its certificates, its checks, its early choice of the
 * muxer), but with Node's TLS directly on the TCP socket. `@libp2p/tls` puts it on a JavaScript stream above
 * the socket, which costs half the throughput. A connection that has no TCP socket beneath it is left to `@libp2p/tls`.
 */
export function nativeTls(): (components: TLSComponents) => ConnectionEncrypter {
  return (components) => new NativeTls(components);
}

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
    const muxers = options.skipStreamMuxerNegotiation === true ? new Map() : this.#components.upgrader.getStreamMuxers();
    const certificate = await generateCertificate(this.#components.privateKey, options);
    // From here on the bytes of the TCP socket are TLS's, not the connection's.
    socket.removeAllListeners('data');
    const secured = startTls(socket, direction, { ...certificate, ALPNProtocols: [...muxers.keys(), 'libp2p'] }, muxers);
    try {
      await handshake(secured, options.signal);
      const remotePeer = await verifyPeerCertificate(secured.getPeerCertificate().raw, options.remotePeer, connection.log);
      const streamMuxer = muxers.get(secured.alpnProtocol || '') as StreamMuxerFactory | undefined;
      const stream = toMessageStream(connection, secured);
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
  certificate: TLSSocketOptions,
  muxers: ReadonlyMap<string, StreamMuxerFactory>,
): TLSSocket {
  const options: TLSSocketOptions = {
    ...certificate,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // The certificate is self-signed: that its extension carries the peer's own signature is what counts.
    rejectUnauthorized: false,
  };
  if (direction === 'outbound') return connect({ ...options, socket });
  return new TLSSocket(socket, {
    ...options,
    isServer: true,
    requestCert: true,
    ALPNCallback: ({ protocols }) => protocols.find((name) => muxers.has(name) || name === 'libp2p'),
  });
}

function handshake(socket: TLSSocket, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      socket.destroy();
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const finish = (settle: () => void): void => {
      signal?.removeEventListener('abort', onAbort);
      settle();
    };
    socket.once('error', (error) => finish(() => reject(error)));
    socket.once('close', () => finish(() => reject(new Error('closed during the handshake'))));
    socket.once('secure', () => finish(resolve));
  });
}

function socketBeneath(connection: MessageStream): Socket | undefined {
  const socket: unknown = Reflect.get(connection, 'socket');
  return socket instanceof Socket && !(socket instanceof TLSSocket) ? socket : undefined;
}
