import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { CommitMode } from '../../src/node/api.ts';
import type { SwarmNode } from '../../src/swarm/swarm-directory.ts';

const answerMsMax = 60_000;
const answerBytesMax = 65_536;
const headEnd = '\r\n\r\n';

/**
 * Writes objects at one node over kept-alive connections, one a writer. It does just what HTTP asks, so that on a machine of
 * two cores the node is measured and not a client beside it, which takes a fifth of them: 40 against 170 µs a write.
 */
export class LoadGenerator {
  readonly #connections: readonly Connection[];
  readonly #authorization: string;

  private constructor(connections: readonly Connection[], token: string) {
    this.#connections = connections;
    this.#authorization = `host: localhost\r\nauthorization: Bearer ${token}\r\n`;
  }

  static async connect({ url, token }: SwarmNode, writers: number): Promise<LoadGenerator> {
    const { hostname, port } = new URL(url);
    const connections = Array.from({ length: writers }, () => Connection.open(hostname, Number(port)));
    return new LoadGenerator(await Promise.all(connections), token);
  }

  /** Puts an object; each writer one after the other. The names are sent as they are. Rejects unless it is acknowledged. */
  async put(writer: number, ns: string, key: string, body: Uint8Array, commit: CommitMode = 'local'): Promise<void> {
    const head = `PUT /v1/objects/${ns}/${key}?commit=${commit} HTTP/1.1\r\n${this.#authorization}content-length: ${body.length}${headEnd}`;
    const answer = await (this.#connections[writer] as Connection).exchange(head, body);
    if (!answer.startsWith('HTTP/1.1 201 ')) throw new Error(`the node did not take ${ns}/${key}: ${answer}`);
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }
}

/** One connection, with one request on it at a time. */
class Connection {
  readonly #socket: Socket;
  #waiting: PromiseWithResolvers<string> | undefined;
  #received = '';

  private constructor(socket: Socket) {
    this.#socket = socket.setNoDelay().setTimeout(answerMsMax);
    socket.on('data', (piece) => this.#take(piece.toString('latin1')));
    socket.on('timeout', () => socket.destroy(new Error('the node did not answer')));
    socket.on('error', (error) => this.#waiting?.reject(error));
    socket.on('close', () => this.#waiting?.reject(new Error('the node closed the connection')));
  }

  static async open(host: string, port: number): Promise<Connection> {
    const socket = connect(port, host);
    await once(socket, 'connect');
    return new Connection(socket);
  }

  /** Sends a request and resolves with the whole answer. */
  exchange(head: string, body: Uint8Array): Promise<string> {
    if (this.#socket.destroyed) throw new Error('the connection to the node is closed');
    this.#waiting = Promise.withResolvers<string>();
    this.#socket.cork();
    this.#socket.write(head, 'latin1');
    this.#socket.write(body);
    this.#socket.uncork();
    return this.#waiting.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(piece: string): void {
    const received = this.#received + piece;
    this.#received = received;
    if (received.length > answerBytesMax) return void this.#socket.destroy(new Error('the answer is too long'));
    const bodyStart = received.indexOf(headEnd) + headEnd.length;
    if (bodyStart < headEnd.length) return;
    const bodyBytes = /\r\ncontent-length: (\d+)\r\n/i.exec(received)?.[1];
    if (bodyBytes === undefined) return void this.#socket.destroy(new Error('the answer has no Content-Length'));
    if (received.length < bodyStart + Number(bodyBytes)) return;
    this.#received = '';
    this.#waiting?.resolve(received);
    this.#waiting = undefined;
  }
}

/** Makes contents of so many random bytes, no two of them alike: drawing each anew would take longer than sending it. */
export function contentSource(bytes: number): () => Uint8Array {
  const block = randomBytes(bytes);
  let serial = 0;
  return () => {
    const content = Buffer.from(block);
    content.writeUIntLE(serial++, 0, 6);
    return content;
  };
}
