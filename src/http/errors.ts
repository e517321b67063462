import { STATUS_CODES } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { RefusalCode } from '../node/api.ts';
import { MeshError, type MeshErrorCode } from '../ports/mesh-error.ts';

/** What only the HTTP layer refuses, beside what the node does. */
type HttpOnlyCode =
  | 'unauthorized'
  | 'forbidden'
  | 'method_not_allowed'
  | 'expectation_failed'
  | 'headers_too_large'
  | 'range_not_satisfiable'
  | 'request_timeout'
  | 'unsupported_media_type'
  | 'too_many_streams'
  | 'not_ready'
  | 'shutting_down'
  | 'internal';

export type ProblemCode = RefusalCode | HttpOnlyCode;

/** The one place where a code becomes a status. */
const problems: Readonly<Record<ProblemCode, readonly [status: number, title: string]>> = {
  invalid_key: [400, 'The key is not valid'],
  invalid_namespace: [400, 'The namespace is not valid'],
  invalid_version: [400, 'The version id is not valid'],
  invalid_request: [400, 'The request is not valid'],
  unknown_parent: [400, 'A named parent is not known here'],
  foreign_parent: [400, 'A named parent belongs to another object'],
  incomplete_body: [400, 'The body was cut short'],
  unauthorized: [401, 'A valid token is needed'],
  forbidden: [403, 'The request is not allowed'],
  not_permitted: [403, 'The node has no right to do this'],
  not_found: [404, 'There is nothing at this address'],
  deleted: [404, 'The object is deleted'],
  version_not_found: [404, 'The object has no such version'],
  not_confirmed: [404, 'The object has no confirmed head'],
  unknown_node: [404, 'There is no such member'],
  method_not_allowed: [405, 'The method is not allowed here'],
  request_timeout: [408, 'The request did not arrive in time'],
  too_many_heads: [409, 'The object has too many heads'],
  context_too_large: [409, 'The causal context has grown too large'],
  not_a_descendant: [409, 'The version does not descend from the confirmed head'],
  operation_reused: [409, 'The operation id stands for something else'],
  name_taken: [409, 'The name is taken'],
  node_taken: [409, 'The node is a member already'],
  key_taken: [409, 'The key is that of another member'],
  key_removed: [409, 'The key was removed and does not come back'],
  last_coordinator: [409, 'A coordinator has to be left'],
  too_many_coordinators: [409, 'There are too many coordinators'],
  several_coordinator_changes: [409, 'Coordinators change one at a time'],
  carry_over_running: [409, 'The last change of coordinators is still under way'],
  too_many: [409, 'A bound of the cluster is reached'],
  log_moved: [409, 'The control log went on meanwhile'],
  too_large: [413, 'The request is too large'],
  unsupported_media_type: [415, 'The media type is not supported'],
  range_not_satisfiable: [416, 'The range cannot be satisfied'],
  expectation_failed: [417, 'The expectation cannot be met'],
  headers_too_large: [431, 'The headers are too large'],
  internal: [500, 'Something went wrong in this node'],
  damaged: [503, 'What this node has stored is damaged'],
  content_unavailable: [503, 'The content cannot be had right now'],
  metadata_unavailable: [503, 'The nodes that hold the metadata do not answer'],
  coordinators_unavailable: [503, 'No coordinator answers'],
  quorum_unavailable: [503, 'No quorum answered in time'],
  too_many_streams: [503, 'Too many event streams are open'],
  not_ready: [503, 'The node is not ready'],
  shutting_down: [503, 'The node is shutting down'],
  unknown_outcome: [504, 'The outcome is not known yet'],
  disk_full: [507, 'The disk is full'],
};

export const problemCodes = Object.keys(problems) as ProblemCode[];
export const problemStatus = (code: ProblemCode): number => problems[code][0];
export const problemMediaType = 'application/problem+json';

/** An RFC 9457 body: five members every problem has, and the typed extras of its code beside them. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ProblemCode;
  readonly [extra: string]: unknown;
}

type Extras = Readonly<Record<string, unknown>>;
type Headers = Readonly<Record<string, string>>;

/** A refusal of the HTTP layer's own, thrown by whatever notices it and answered by the error handler. */
export class HttpProblem extends Error {
  readonly code: ProblemCode;
  readonly extras: Extras;
  readonly headers: Headers;

  constructor(
    code: ProblemCode,
    message: string,
    options: { readonly extras?: Extras; readonly headers?: Headers } = {},
  ) {
    super(message);
    this.name = 'HttpProblem';
    this.code = code;
    this.extras = options.extras ?? {};
    this.headers = options.headers ?? {};
  }
}

/** The members every problem has come last, so that no extra can pass itself off as one of them. */
export function problemBody(code: ProblemCode, detail: string, extras: Extras = {}): Problem {
  const [status, title] = problems[code];
  return { ...extras, type: `urn:anabranch:problem:${code}`, title, status, detail, code };
}

/** The body goes out as bytes: to text of a JSON type Fastify would add a charset that problem+json does not have. */
export function sendProblem(reply: FastifyReply, problem: HttpProblem): void {
  reply
    .code(problemStatus(problem.code))
    .headers(problem.headers)
    .header('content-type', problemMediaType)
    .header('cache-control', 'no-store')
    .send(Buffer.from(JSON.stringify(problemBody(problem.code, problem.message, problem.extras))));
}

/** A whole answer for a connection whose request never became one, and which is closed after it. */
export function rawProblem(code: ProblemCode, detail: string): string {
  const body = JSON.stringify(problemBody(code, detail));
  const status = problemStatus(code);
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: ${problemMediaType}\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
  );
}

/**
 * What a failed request is answered with. Messages of failures are written here and not passed on, for
 * they may name paths and peers; the log has the original.
 */
export function problemOf(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof MeshError) {
    const message = meshErrorMessages[error.code];
    if (message !== undefined) return new HttpProblem(...message);
  }
  const fastifyCode = codeOf(error);
  const known = frameworkProblems[fastifyCode];
  if (known !== undefined) return new HttpProblem(...known);
  return new HttpProblem('internal', 'The node failed to answer; its log has the reason.');
}

type Answer = readonly [ProblemCode, string];

const meshErrorMessages: Readonly<Partial<Record<MeshErrorCode, Answer>>> = {
  content_unavailable: [
    'content_unavailable',
    'A part of the content is missing or damaged on this node, and nobody sent it in time; try again once a node that has ' +
      'it is connected.',
  ],
  corrupt: [
    'damaged',
    'A part of what this node has stored is damaged on its disk and was not used. A damaged version is fetched again as ' +
      'soon as a peer that has it is connected; the log of the node has its name.',
  ],
  disk_full: ['disk_full', 'There is no room left on this node; nothing was stored.'],
  incomplete_body: ['incomplete_body', 'The body ended before all of it had arrived; nothing was stored.'],
  shutting_down: ['shutting_down', 'The node is shutting down; ask another one.'],
  too_large: ['too_large', 'The request is larger than this node takes.'],
};

/** Fastify's and Node's own codes for what the client did wrong. All else of theirs is a fault of ours. */
const frameworkProblems: Readonly<Record<string, Answer>> = {
  FST_ERR_BAD_URL: ['invalid_request', 'The path is not valid percent-encoded UTF-8.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['too_large', 'The JSON body is larger than this node takes.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The body must be JSON; it is empty.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['incomplete_body', 'The body is not as long as Content-Length says.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['invalid_request', 'The body is not valid JSON.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'The Content-Type is not one this call takes.'],
  ECONNRESET: ['incomplete_body', 'The body ended before all of it had arrived.'],
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'The request line and headers are larger than this node takes.'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['too_large', 'The chunk extensions are larger than this node takes.'],
  HPE_INVALID_EOF_STATE: ['incomplete_body', 'The connection ended in the middle of a request.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'The request line and headers did not arrive in time.'],
};

/** The answer to bytes that are no HTTP request. */
export function parseProblemOf(error: unknown): HttpProblem {
  const known = frameworkProblems[codeOf(error)];
  return new HttpProblem(...(known ?? (['invalid_request', 'This is not a valid HTTP/1.1 request.'] as const)));
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : '';
}
