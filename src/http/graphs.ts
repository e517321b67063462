import type { Resource } from './context.ts';
import { sendRefusal } from './errors.ts';
import { noParameters } from './schemas.ts';
import { objectTarget, parametersOf } from './target.ts';

export const graphs: Resource = (scope, { node }) => {
  scope.get('/v1/graphs/:ns/*', (request, reply) => {
    const target = objectTarget(request.url);
    parametersOf(request.url, noParameters);
    const graph = node.graph(target);
    return graph.ok ? reply.send(graph.value) : sendRefusal(reply, graph.error);
  });
};
