import type { Resource } from './context.ts';
import { sendOutcome } from './outcomes.ts';
import { noParameters } from './schemas.ts';
import { objectTarget, parametersOf } from './target.ts';

export const graphs: Resource = (scope, { node }) => {
  scope.get('/v1/graphs/:ns/*', async (request, reply) => {
    const target = objectTarget(request.url);
    parametersOf(request.url, noParameters);
    const bringing = node.bring(target);
    if (bringing !== undefined) await bringing;
    sendOutcome(reply, node.graph(target));
  });
};
