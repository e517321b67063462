import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ReadVersion, WriteTarget } from '../node/api.ts';
import { adminPrincipal } from './auth.ts';
import { writeContent } from './content-response.ts';
import type { HttpContext, Resource } from './context.ts';
import { HttpProblem } from './errors.ts';
import { contentTypeOf, metaHeaders, metaOf } from './meta-headers.ts';
import { sendOutcome, sendRefusal, sendWritten } from './outcomes.ts';
import { entityTag, matchesNone, namedParents, rangeApplies } from './preconditions.ts';
import { parseRange } from './range.ts';
import { RequestBody } from './request-body.ts';
import { listParameters, readParameters, writeParameters } from './schemas.ts';
import { namespaceTarget, objectTarget, parametersOf } from './target.ts';

const objectPath = '/v1/objects/:ns/*';

export const objects: Resource = (scope, context) => {
  // Content of every type, JSON too, is a stream here and nobody's to parse.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
  scope.put(objectPath, (request, reply) => putObject(context, request, reply));
  scope.delete(objectPath, (request, reply) => deleteObject(context, request, reply));
  scope.get(objectPath, { exposeHeadRoute: false }, (request, reply) => readObject(context, request, reply));
  scope.head(objectPath, (request, reply) => readObject(context, request, reply));
  scope.get('/v1/objects/:ns', async (request, reply) => {
    const { url } = request;
    const listed = await context.node.wholeList({ ns: namespaceTarget(url), ...parametersOf(url, listParameters) });
    sendOutcome(reply, listed);
  });
};

async function putObject(context: HttpContext, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { headers } = request.raw;
  const target = writeTarget(request.url, headers);
  refuseHeaders(headers);
  const type = contentTypeOf(headers);
  const meta = metaOf(headers);
  const body = new RequestBody(request.raw);
  context.connections.upload(reply.raw, body);
  if (headers.expect !== undefined) reply.raw.writeContinue();
  try {
    const written = await context.node.put({
      ...target,
      body,
      ...(type === undefined ? undefined : { type }),
      ...(meta === undefined ? undefined : { meta }),
    });
    sendWritten(reply, written);
  } finally {
    body.release();
    context.metrics.received(body.receivedBytes);
  }
}

async function deleteObject(context: HttpContext, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const written = await context.node.delete(writeTarget(request.url, request.raw.headers));
  sendWritten(reply, written);
}

function writeTarget(url: string, headers: IncomingHttpHeaders): WriteTarget {
  const { ns, key } = objectTarget(url);
  const { parents: listed, commit } = parametersOf(url, writeParameters);
  const parents = namedParents(listed, headers['if-match']);
  return {
    ns,
    key,
    author: adminPrincipal,
    ...(parents === undefined ? undefined : { parents }),
    ...(commit === undefined ? undefined : { commit }),
  };
}

/** Headers that would change what a write means. Ignoring one would store something else than was asked for. */
const refusedHeaders = ['content-encoding', 'content-range', 'if-none-match', 'if-unmodified-since'] as const;

function refuseHeaders(headers: IncomingHttpHeaders): void {
  for (const name of refusedHeaders) {
    if (headers[name] !== undefined && headers[name] !== 'identity') {
      throw new HttpProblem('invalid_request', `A write cannot honour the header "${name}".`);
    }
  }
}

async function readObject(context: HttpContext, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { headers, method } = request.raw;
  const target = objectTarget(request.url);
  const parameters = parametersOf(request.url, readParameters);
  if (parameters.mode !== undefined && parameters.version !== undefined) {
    throw new HttpProblem('invalid_request', 'The parameters "mode" and "version" exclude each other.');
  }
  const bringing = context.node.bring({ ...target, ...parameters });
  if (bringing !== undefined) await bringing;
  const read = context.node.read({ ...target, ...parameters });
  if (!read.ok) return sendRefusal(reply, read.error);
  const found = read.value;
  if (matchesNone(headers['if-none-match'], found.version)) {
    reply.code(304).headers(stateHeaders(found)).send();
  } else if (method === 'HEAD') {
    reply.headers(contentHeaders(found)).header('content-length', found.size).send();
  } else {
    await sendContent(context, found, headers, reply);
  }
}

async function sendContent(
  context: HttpContext,
  found: ReadVersion,
  headers: IncomingHttpHeaders,
  reply: FastifyReply,
): Promise<void> {
  const applies = rangeApplies(headers['if-range'] as string | undefined, found.version);
  const range = parseRange(applies ? headers.range : undefined, found.size);
  if (range.kind === 'unsatisfiable') {
    throw new HttpProblem(
      'range_not_satisfiable',
      `The content has ${found.size} bytes, and one range of them can be asked for.`,
      {
        extras: { size: found.size },
        headers: { 'content-range': `bytes */${found.size}` },
      },
    );
  }
  const part = range.kind === 'part' ? range : undefined;
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  const opened = await found.open(part && { start: part.start, end: part.end }, gone.signal);
  if (!opened.ok) return sendRefusal(reply, opened.error);
  const sizeBytes = part === undefined ? found.size : part.end - part.start;
  const begin = (): void => {
    reply.raw.writeHead(part === undefined ? 200 : 206, {
      ...contentHeaders(found),
      'content-length': sizeBytes,
      ...(part && { 'content-range': `bytes ${part.start}-${part.end - 1}/${found.size}` }),
    });
    reply.hijack();
  };
  try {
    await writeContent(reply.raw, opened.value, { sizeBytes, begin, onSent: context.metrics.sent });
  } catch (error) {
    if (!reply.raw.headersSent) throw error;
    context.log.error('http:content-failed', { version: found.version, error });
  }
}

function stateHeaders(found: ReadVersion): Record<string, string> {
  const headers: Record<string, string> = {
    etag: entityTag(found.version),
    'cache-control': 'no-cache',
    'x-anabranch-state': found.state,
    'x-anabranch-heads': String(found.heads.length),
    'x-anabranch-b3': found.b3,
  };
  if (found.newer !== null) headers['x-anabranch-newer'] = found.newer;
  return headers;
}

function contentHeaders(found: ReadVersion): Record<string, string> {
  return {
    ...stateHeaders(found),
    ...metaHeaders(found.meta),
    'content-type': found.type,
    'accept-ranges': 'bytes',
    'x-content-type-options': 'nosniff',
  };
}
