import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AskedChange, AskedOperation } from '../node/api.ts';
import { bodyOf, change, segmentOf, takesJson } from './changes.ts';
import { changeParameters } from './cluster-schemas.ts';
import type { HttpContext, Resource } from './context.ts';
import { HttpProblem } from './errors.ts';
import { jsonBodyBytesMax } from './limits.ts';
import { sendOutcome } from './outcomes.ts';
import {
  auditParameters,
  placementParameters,
  planParameters,
  previewBody,
  replicaParameters,
} from './replication-schemas.ts';
import { noParameters } from './schemas.ts';
import { objectTarget, parametersOf } from './target.ts';

type Drained = Extract<AskedOperation, { type: 'drain' }>['nodeId'];

/** Where content should be and is. */
export const replication: Resource = (scope, context) => {
  const { node } = context;
  takesJson(scope);
  scope.get('/v1/replication/placement', (request, reply) => {
    const { ns, key } = parametersOf(request.url, placementParameters);
    if (ns === undefined || key === undefined) {
      throw new HttpProblem('invalid_request', '"ns" and "key" are needed: those of an object.');
    }
    sendOutcome(reply, node.replication.placement({ ns, key }));
  });
  scope.post('/v1/replication/preview', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    parametersOf(request.url, noParameters);
    const { change: asked, ...page } = bodyOf(request, previewBody);
    sendOutcome(reply, await node.replication.preview({ change: asked as AskedChange, ...page }));
  });
  scope.get('/v1/replication/status', async (request, reply) => {
    parametersOf(request.url, noParameters);
    reply.send(await node.replication.status());
  });
  scope.get('/v1/replication/plan', async (request, reply) => {
    sendOutcome(reply, await node.replication.plan(parametersOf(request.url, planParameters)));
  });
  scope.post('/v1/replication/audit', async (request, reply) => {
    const { wait = 0 } = parametersOf(request.url, auditParameters);
    const outcome = await node.replication.audit({ waitMs: wait * 1_000 });
    reply.code(outcome.complete ? 200 : 202).send(outcome);
  });
  scope.get('/v1/replicas/:ns/*', async (request, reply) => {
    const target = objectTarget(request.url);
    sendOutcome(reply, await node.replication.replicas({ ...target, ...parametersOf(request.url, replicaParameters) }));
  });
  addDrain(scope, context);
};

function addDrain(scope: FastifyInstance, context: HttpContext): void {
  const path = '/v1/nodes/:id/drain';
  const set = async (request: FastifyRequest, reply: FastifyReply, draining: boolean): Promise<void> => {
    const nodeId = segmentOf(request.url, 3) as Drained;
    const member = context.node.nodes().find((each) => each.nodeId === nodeId);
    // Who names an operation asks what became of it, and is told.
    const isAsked = request.headers['idempotency-key'] !== undefined;
    if (member?.draining === draining && !isAsked) {
      parametersOf(request.url, changeParameters);
      reply.code(204).send();
    } else {
      await change(context, request, reply, { type: 'drain', nodeId, draining });
    }
  };
  scope.post(path, (request, reply) => set(request, reply, true));
  scope.delete(path, (request, reply) => set(request, reply, false));
  scope.get(path, async (request, reply) => {
    parametersOf(request.url, noParameters);
    sendOutcome(reply, await context.node.replication.drainStatus(segmentOf(request.url, 3)));
  });
}
