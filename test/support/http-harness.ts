import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import type { HttpLimits } from '../../src/http/limits.ts';
import { buildOpenApi } from '../../src/http/openapi.ts';
import { createHttpServer, type HttpServer, type HttpServerDependencies } from '../../src/http/server.ts';
import { FakeNode } from './fake-node.ts';
import { OpenApiChecker } from './openapi-checker.ts';

export const token = 'a-token-of-the-tests';
export const authorization = `Bearer ${token}`;
const checker = new OpenApiChecker(JSON.parse(JSON.stringify(buildOpenApi())));

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON. */
  readonly json: Record<string, unknown>;
}

/** A server over a fake node (or the one given), and clients that hold every answer against the document. */
export class HttpHarness<Node extends HttpServerDependencies['node'] = FakeNode> {
  readonly clock: VirtualClock;
  readonly log: MemoryLog;
  readonly metrics: MemoryMetrics;
  readonly node: Node;
  readonly server: HttpServer;

  private constructor(node: Node, parts: Pick<HttpHarness, 'clock' | 'log' | 'metrics' | 'server'>) {
    this.node = node;
    this.clock = parts.clock;
    this.log = parts.log;
    this.metrics = parts.metrics;
    this.server = parts.server;
  }

  static start(limits?: Partial<HttpLimits>): Promise<HttpHarness> {
    return HttpHarness.over(new FakeNode(), limits);
  }

  static async over<Node extends HttpServerDependencies['node']>(
    node: Node,
    limits: Partial<HttpLimits> = {},
  ): Promise<HttpHarness<Node>> {
    const parts = { clock: new VirtualClock(), log: new MemoryLog(), metrics: new MemoryMetrics() };
    const metricsText = async (): Promise<string> => '# nothing yet\n';
    const server = await createHttpServer(
      { node, token, metricsText, ...parts },
      { host: '127.0.0.1', port: 0, limits },
    );
    return new HttpHarness(node, { ...parts, server });
  }

  get port(): number {
    return Number(new URL(this.server.url).port);
  }

  /** Asks with the token, and throws when the document does not know the answer. */
  async ask(method: string, path: string, init: RequestInit & { duplex?: 'half' } = {}): Promise<Answer> {
    const headers = new Headers(init.headers);
    if (!headers.has('authorization')) headers.set('authorization', authorization);
    const response = await fetch(this.server.url + path, { ...init, method, headers });
    const text = await response.text();
    checker.check(method, path, { status: response.status, type: response.headers.get('content-type'), body: text });
    return answerOf(response.status, response.headers, text);
  }

  put(path: string, body: RequestInit['body'], headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask('PUT', path, { body: body ?? null, headers, duplex: 'half' });
  }

  /** Sends bytes as they are on a connection of their own. */
  async connect(text: string | Uint8Array = ''): Promise<RawConnection> {
    const socket = connect({ port: this.port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect');
    const raw = new RawConnection(socket);
    raw.send(text);
    return raw;
  }

  /** The head of a raw request with the token and a right Host. */
  head(method: string, path: string, headers: Readonly<Record<string, string | number>> = {}): string {
    const all = { host: `127.0.0.1:${this.port}`, authorization, ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
  }

  /** A raw request on a connection of its own, read to the end. */
  async askRaw(method: string, path: string, headers: Readonly<Record<string, string | number>> = {}): Promise<Answer> {
    const raw = await this.connect(this.head(method, path, { connection: 'close', ...headers }));
    const answer = await raw.answer();
    checker.check(method, path, { status: answer.status, type: answer.headers.get('content-type'), body: answer.text });
    return answer;
  }
}

/** A client that says exactly what it is told to. */
export class RawConnection {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  #received = '';

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.#received += text;
    });
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve());
      socket.once('end', () => resolve());
    });
  }

  get received(): string {
    return this.#received;
  }

  send(text: string | Uint8Array): void {
    if (text.length > 0) this.socket.write(text);
  }

  /** Resolves once the text received so far fits. */
  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.#received)) {
      if (this.socket.readableEnded || this.socket.destroyed) throw new Error(`closed after: ${this.#received}`);
      await Promise.race([once(this.socket, 'data'), this.closed]);
    }
  }

  /** What was answered by the time the server closed the connection. */
  async answer(): Promise<Answer> {
    await this.closed;
    this.socket.destroy();
    const split = this.#received.indexOf('\r\n\r\n');
    const [statusLine = '', ...lines] = this.#received.slice(0, split).split('\r\n');
    const headers = new Headers(lines.map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]));
    const body = Buffer.from(this.#received.slice(split + 4), 'latin1').toString();
    return answerOf(Number(statusLine.split(' ')[1]), headers, body);
  }
}

function answerOf(status: number, headers: Headers, text: string): Answer {
  return {
    status,
    headers,
    text,
    get json() {
      return JSON.parse(text) as Record<string, unknown>;
    },
  };
}
