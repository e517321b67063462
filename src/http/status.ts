import type { Resource } from './context.ts';
import { noParameters } from './schemas.ts';
import { parametersOf } from './target.ts';

export const status: Resource = (scope, { node }) => {
  scope.get('/v1/status', async (request, reply) => {
    parametersOf(request.url, noParameters);
    reply.send(await node.status());
  });
  scope.get('/v1/nodes', (request, reply) => {
    parametersOf(request.url, noParameters);
    reply.send({ nodes: node.nodes() });
  });
};
