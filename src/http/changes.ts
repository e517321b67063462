import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { AskedOperation } from '../node/api.ts';
import { describeIssues, worded } from '../schema-issues.ts';
import { adminPrincipal } from './auth.ts';
import { changeParameters, idempotencyKey } from './cluster-schemas.ts';
import type { HttpContext } from './context.ts';
import { HttpProblem } from './errors.ts';
import { sendOutcome } from './outcomes.ts';
import { decodePercent } from './percent.ts';
import { parametersOf } from './target.ts';

/** What the calls that change something by a JSON body have in common, and those that change the cluster: a reason, an operation id, and how they end. */

/** JSON bodies only, and a client that waits for leave to send gets it. */
export function takesJson(scope: FastifyInstance): void {
  scope.removeContentTypeParser('text/plain');
  scope.addHook('onRequest', (request, reply, done) => {
    if (request.headers.expect !== undefined) reply.raw.writeContinue();
    done();
  });
}

export async function change(
  { node }: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
  operation: AskedOperation,
): Promise<void> {
  const { reason } = parametersOf(request.url, changeParameters);
  const operationId = operationIdOf(request);
  const changed = await node.cluster.change({
    operation,
    actor: adminPrincipal,
    ...(reason === undefined ? undefined : { reason }),
    ...(operationId === undefined ? undefined : { operationId }),
  });
  sendOutcome(reply, changed);
}

export function bodyOf<Schema extends z.ZodType>(request: FastifyRequest, schema: Schema): z.output<Schema> {
  if (request.body === undefined || request.body === null) {
    throw new HttpProblem('invalid_request', 'A body is needed: a JSON object, with Content-Type: application/json.');
  }
  const body = schema.safeParse(request.body, worded);
  if (!body.success) throw new HttpProblem('invalid_request', describeIssues(body.error));
  return body.data;
}

/** A segment of the path, counted from 1, as it was sent. */
export function segmentOf(url: string, place: number): string {
  const [path = ''] = url.split('?', 1);
  const text = decodePercent(path.split('/')[place] ?? '');
  if (text === undefined) throw new HttpProblem('invalid_request', 'The path is not valid percent-encoded UTF-8.');
  return text;
}

function operationIdOf(request: FastifyRequest): string | undefined {
  const given = request.headers['idempotency-key'];
  if (given === undefined) return undefined;
  const id = idempotencyKey.safeParse(given);
  if (id.success) return id.data;
  throw new HttpProblem('invalid_request', 'An Idempotency-Key is 26 to 64 characters of lowercase base32.');
}
