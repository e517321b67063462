import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../ports/log.ts';
import { HttpProblem, parseProblemOf, problemBody, problemMediaType, rawProblem } from './errors.ts';
import type { HttpLimits } from './limits.ts';
import type { RequestBody } from './request-body.ts';

/**
 * What the connections need beside routing: an answer to bytes that are no request, a deadline that only
 * progress moves, a bounded way to drop the body of a refused upload, and an end.
 */
export class Connections {
  /** The latest request of each connection. */
  readonly #exchanges = new WeakMap<Socket, Exchange>();
  readonly #unanswered = new Set<ServerResponse>();
  readonly #log: Log;
  readonly #limits: HttpLimits;

  constructor(deps: { readonly log: Log }, limits: HttpLimits) {
    this.#log = deps.log;
    this.#limits = limits;
  }

  attach(server: Server): void {
    server.on('timeout', (socket: Socket) => this.#onIdle(socket));
    // The handler that is going to read the body says so; a refused one is never sent.
    server.on('checkContinue', (request, response) => server.emit('request', request, response));
    server.on('checkExpectation', (_request, response: ServerResponse) => {
      const problem = problemBody('expectation_failed', 'The only expectation this node meets is 100-continue.');
      const body = JSON.stringify(problem);
      response.writeHead(problem.status, {
        'content-type': problemMediaType,
        'content-length': Buffer.byteLength(body),
        connection: 'close',
      });
      response.end(body);
    });
  }

  begin(response: ServerResponse): void {
    const { req } = response;
    this.#exchanges.set(req.socket, { response, body: undefined });
    this.#unanswered.add(response);
    response.once('close', () => this.#unanswered.delete(response));
    if (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined) return;
    response.once('prefinish', () => {
      if (!req.complete) this.#discardRest(req);
    });
  }

  /** Notes the upload a connection carries, so that what happens to the connection reaches its reader. */
  upload(response: ServerResponse, body: RequestBody): void {
    this.#exchanges.set(response.req.socket, { response, body });
  }

  /** Lets every request in flight be the last on its connection. */
  drain(): void {
    for (const response of this.#unanswered) closeAfter(response);
  }

  /**
   * Answers what the parser refuses. In the middle of an upload its reader is told, and the handler answers;
   * behind a whole request its answer goes out first.
   */
  onClientError(error: Error, socket: Socket): void {
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const exchange = this.#exchanges.get(socket);
    if (exchange === undefined) {
      this.#refuse(socket, parseProblemOf(error));
      return;
    }
    const { response, body } = exchange;
    const { complete } = response.req;
    if (response.writableFinished) {
      if (complete) this.#refuse(socket, parseProblemOf(error));
      else socket.destroySoon();
    } else if (complete || body !== undefined) {
      closeAfter(response);
      if (!complete) body?.fail('The connection ended, or sent what is no HTTP, before the whole body had arrived.');
    } else {
      this.#refuse(socket, new HttpProblem('incomplete_body', 'The body ended before all of it had arrived.'));
    }
  }

  #refuse(socket: Socket, problem: HttpProblem): void {
    this.#log.debug('http:bad-request', { code: problem.code });
    socket.end(rawProblem(problem.code, problem.message));
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
    if (body?.starved === true) {
      closeAfter(response);
      body.fail(`No byte of the body arrived for ${this.#limits.idleMs} ms.`);
    } else if (response.writableLength > 0 || (body === undefined && !response.req.complete)) {
      socket.destroy();
    } else {
      socket.setTimeout(this.#limits.idleMs);
    }
  }
}

function closeAfter(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close');
  response.once('finish', () => response.req.socket.destroySoon());
}

interface Exchange {
  readonly response: ServerResponse;
  readonly body: RequestBody | undefined;
}
