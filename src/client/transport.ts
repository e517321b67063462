import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import { Agent, request as httpRequest } from 'node:http';
import { ApiError, clientError } from './api-error.ts';
import { StallGuard } from './stall-guard.ts';

/** The API itself gives up on content that makes no progress for 10 s; past this, the node hangs. */
const stallMsMaxDefault = 60_000;
/** A graph of 10,000 versions with long contexts stays below this. */
const jsonBytesMax = 64 * 1024 * 1024;
/** One client opens no more sockets than this; further calls wait for a free one. */
const socketsMax = 64;
const noContent = 204;

/** What is sent: one piece, or pieces that are pulled only as fast as the node takes them. */
export type UploadBody = Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface Call {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: UploadBody | undefined;
  /** Bytes of `body`, when known: a body that turns out shorter or longer then fails the call. */
  readonly bodyBytes?: number | undefined;
  readonly onSent?: ((bytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** True for a stream that may rightly stay silent. */
  readonly endless?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly headers: IncomingMessage['headers'];
  /** The body's pieces, pulled only as fast as they are taken. Leaving the loop early drops the connection. */
  body(): AsyncGenerator<Uint8Array, void, void>;
  /** Drops a body that nobody is going to read, and the connection with it. */
  discard(): void;
}

/** HTTP/1.1 to one node, with its token, over kept-alive connections. */
export class Transport {
  readonly #base: URL;
  readonly #token: string | undefined;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: socketsMax });
  readonly #stallMsMax: number;

  constructor(options: { readonly url: string; readonly token?: string | undefined; readonly stallMsMax?: number }) {
    this.#base = baseOf(options.url);
    this.#token = options.token;
    this.#stallMsMax = options.stallMsMax ?? stallMsMaxDefault;
  }

  get url(): string {
    return this.#base.origin;
  }

  /** Makes a call and resolves once the head of a 2xx answer is here. Rejects with `ApiError`, or the signal's reason. */
  async call(call: Call): Promise<Answer> {
    const answer = await this.#sendWithRetry(call);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw await problemOf(answer);
  }

  /** The body of the answer; undefined for one that has none. */
  async json(call: Call): Promise<unknown> {
    const answer = await this.call(call);
    const text = await readText(answer);
    if (answer.status === noContent) return undefined;
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw clientError('bad_response', `${this.url} answered ${call.path} with something that is not JSON`, cause);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  /** The node may close an idle connection just as a call goes out on it; one that only reads is made again. */
  async #sendWithRetry(call: Call): Promise<Answer> {
    const first = this.#open(call);
    try {
      return await this.#exchange(first, call);
    } catch (error) {
      const lost = error instanceof ApiError && error.code === 'connection_lost';
      if (!lost || !first.reusedSocket || (call.method !== 'GET' && call.method !== 'HEAD')) throw error;
      return this.#exchange(this.#open(call), call);
    }
  }

  #open(call: Call): ClientRequest {
    const options: RequestOptions = {
      agent: this.#agent,
      host: this.#base.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: this.#base.port || 80,
      method: call.method,
      // The path goes out as it is: resolving it here would hide a `..` that the node has to refuse.
      path: call.path + queryText(call.query),
      headers: this.#headersOf(call),
    };
    try {
      return httpRequest(call.signal === undefined ? options : { ...options, signal: call.signal });
    } catch (cause) {
      throw clientError('invalid_request', `This request cannot be sent: ${(cause as Error).message}`, cause);
    }
  }

  #headersOf(call: Call): Record<string, string> {
    const length = call.body instanceof Uint8Array ? call.body.length : call.bodyBytes;
    return {
      ...call.headers,
      ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      ...(length === undefined ? {} : { 'content-length': String(length) }),
    };
  }

  async #exchange(request: ClientRequest, call: Call): Promise<Answer> {
    const guard = new StallGuard(this.#stallMsMax, () => request.destroy(this.#stalled()));
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      request.on('error', (cause) => reject(this.#failure(cause, call.signal)));
    });
    const sent = sendBody(request, call, guard);
    // Whichever fails first is the reason; a node that answers early (a wrong token) is heard at once.
    answered.catch(() => undefined);
    sent.catch((error) => request.destroy(error instanceof Error ? error : undefined));
    await Promise.race([answered, sent]);
    const response = await guard.during(answered);
    const stalls = new StallGuard(call.endless === true ? 2 ** 31 - 1 : this.#stallMsMax, () =>
      response.destroy(this.#stalled()),
    );
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      header: (name) => {
        const value = response.headers[name];
        return Array.isArray(value) ? value.join(', ') : value;
      },
      body: () => this.#read(request, response, stalls, call.signal),
      discard: () => void request.destroy(),
    };
  }

  async *#read(
    request: ClientRequest,
    response: IncomingMessage,
    guard: StallGuard,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array, void, void> {
    const pieces = response[Symbol.asyncIterator]() as AsyncIterableIterator<Uint8Array>;
    try {
      for (;;) {
        const next = await guard.during(pieces.next());
        if (next.done === true) return;
        yield next.value;
      }
    } catch (cause) {
      throw this.#failure(cause, signal);
    } finally {
      // An answer that came before all was sent (a wrong token) leaves a connection that cannot be used again.
      if (!response.complete || !request.writableFinished) request.destroy();
    }
  }

  #stalled(): ApiError {
    return clientError('timeout', `${this.url} made no progress for ${this.#stallMsMax / 1000} s; is the node busy?`);
  }

  #failure(cause: unknown, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted) return signal.reason;
    if (cause instanceof ApiError) return cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE') {
      return clientError('connection_lost', `${this.url} closed the connection before the answer was complete`, cause);
    }
    if (code !== undefined && unreachableCodes.has(code)) {
      return clientError('unreachable', `No node answers at ${this.url} (${code}); is it running?`, cause);
    }
    return clientError('bad_response', `${this.url} could not be understood: ${(cause as Error).message}`, cause);
  }
}

const unreachableCodes = new Set([
  'ECONNREFUSED',
  'EACCES',
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'ETIMEDOUT',
]);

function baseOf(text: string): URL {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 'http:' || url.pathname !== '/' || url.search !== '') {
    throw clientError('invalid_request', `"${text}" is not the URL of a node; it looks like http://127.0.0.1:7400`);
  }
  return url;
}

function queryText(query: Call['query']): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) parameters.set(name, value);
  return parameters.size === 0 ? '' : `?${parameters}`;
}

async function sendBody(request: ClientRequest, call: Call, guard: StallGuard): Promise<void> {
  if (call.body === undefined) {
    request.end();
    return;
  }
  const pieces = call.body instanceof Uint8Array ? [call.body] : call.body;
  let answered = false;
  request.once('response', () => {
    answered = true;
  });
  const expectedBytes = call.body instanceof Uint8Array ? call.body.length : call.bodyBytes;
  let sentBytes = 0;
  for await (const piece of pieces) {
    if (answered || request.destroyed) return;
    if (sentBytes + piece.length > (expectedBytes ?? Number.POSITIVE_INFINITY)) throw changedMeanwhile(expectedBytes);
    if (!request.write(piece)) await guard.during(drained(request));
    sentBytes += piece.length;
    call.onSent?.(sentBytes);
  }
  if (sentBytes < (expectedBytes ?? 0)) throw changedMeanwhile(expectedBytes);
  request.end();
}

function changedMeanwhile(expectedBytes: number | undefined): ApiError {
  return clientError(
    'invalid_request',
    `The content does not have the ${expectedBytes} bytes it began with; try again`,
  );
}

/** Resolves when more may be written, or never will be: the request's own error says why. */
function drained(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      request.off('drain', done).off('close', done).off('response', done);
      resolve();
    };
    request.on('drain', done).on('close', done).on('response', done);
  });
}

export async function readText(answer: Answer): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answer.body()) {
    bytes += piece.length;
    if (bytes > jsonBytesMax) throw clientError('bad_response', `The answer is larger than ${jsonBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

async function problemOf(answer: Answer): Promise<ApiError> {
  const { status } = answer;
  let problem: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(await readText(answer));
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
      problem = parsed as Record<string, unknown>;
    }
  } catch {
    // The status alone has to do.
  }
  const text = (name: string): string | undefined => (typeof problem[name] === 'string' ? problem[name] : undefined);
  const message = text('detail') ?? text('title') ?? `The node answered with HTTP status ${status}`;
  return new ApiError(text('code') ?? `http_${status}`, message, { status, problem });
}
