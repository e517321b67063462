import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../ports/log.ts';
import { parseProblemOf, problemBody, problemMediaType, rawProblem } from './errors.ts';
import type { HttpLimits } from './limits.ts';
import type { RequestBody } from './request-body.ts';

/**
 * What the connections need beside routing: an answer to bytes that are no request, a deadline that only
 * progress moves, and a bounded way to drop the body of a refused upload.
 */
export class Connections {
  readonly #exchanges = new WeakMap<Socket, Exchange>();
  readonly #log: Log;
  readonly #limits: HttpLimits;

  constructor(deps: { readonly log: Log }, limits: HttpLimits) {
    this.#log = deps.log;
    this.#limits = limits;
  }

  attach(server: Server): void {
    server.on('timeout', (socket: Socket) => this.#onIdle(socket));
    server.on('checkContinue', (request, response) => server.emit('request', request, response));
    server.on('checkExpectation', (_request, response: ServerResponse) => {
      const problem = problemBody('expectation_failed', 'The only expectation this node meets is 100-continue.');
      response.writeHead(problem.status, { 'content-type': problemMediaType, connection: 'close' });
      response.end(JSON.stringify(problem));
    });
  }

  begin(response: ServerResponse): void {
    const { req } = response;
    this.#exchanges.set(req.socket, { response, body: undefined });
    if (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined) return;
    response.once('prefinish', () => {
      if (!req.complete) this.#discardRest(req);
    });
  }

  /** Notes the upload a connection carries, so that what happens to the connection reaches its reader. */
  upload(response: ServerResponse, body: RequestBody): void {
    this.#exchanges.set(response.req.socket, { response, body });
  }

  /**
   * Answers what the parser refuses. In the middle of an upload the reader is told, and the handler answers;
   * behind a whole request its answer goes out first.
   */
  onClientError(error: Error, socket: Socket): void {
    const exchange = this.#exchanges.get(socket);
    if (exchange !== undefined && !exchange.response.writableFinished && socket.writable) {
      if (!exchange.response.headersSent) exchange.response.setHeader('connection', 'close');
      exchange.response.once('finish', () => socket.destroySoon());
      if (!exchange.response.req.complete) {
        exchange.body?.fail('The connection ended, or sent what is no HTTP, before the whole body had arrived.');
      }
      return;
    }
    const problem = parseProblemOf(error);
    this.#log.debug('http:bad-request', { code: problem.code, error });
    if (socket.writable) socket.end(rawProblem(problem.code, problem.message));
    socket.destroySoon();
  }

  /**
   * Reads and drops what is left of a body once the answer is written, up to a bound: closing at once would
   * reset the connection under a client that is still sending, and take the answer with it.
   */
  #discardRest(request: IncomingMessage): void {
    let bytesLeft = this.#limits.discardBytesMax;
    request.on('data', (chunk: Uint8Array) => {
      bytesLeft -= chunk.length;
      if (bytesLeft < 0) request.socket.destroy();
    });
    request.resume();
  }

  /**
   * No byte moved for the idle limit. Whose turn it was decides: a client that neither sends nor reads is
   * given up; while the node is at work the connection is left alone.
   */
  #onIdle(socket: Socket): void {
    const exchange = this.#exchanges.get(socket);
    if (exchange === undefined || exchange.response.writableFinished) {
      socket.destroy();
      return;
    }
    const { response, body } = exchange;
    if (body?.starved === true) body.fail(`No byte of the body arrived for ${this.#limits.idleMs} ms.`);
    else if (response.writableLength > 0 || !(response.req.complete || body !== undefined)) socket.destroy();
    else socket.setTimeout(this.#limits.idleMs);
  }
}

interface Exchange {
  readonly response: ServerResponse;
  readonly body: RequestBody | undefined;
}
