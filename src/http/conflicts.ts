import type { Resource } from './context.ts';
import { sendRefusal } from './errors.ts';
import { conflictParameters } from './schemas.ts';
import { parametersOf } from './target.ts';

export const conflicts: Resource = (scope, { node }) => {
  scope.get('/v1/conflicts', (request, reply) => {
    const page = node.conflicts(parametersOf(request.url, conflictParameters));
    return page.ok ? reply.send(page.value) : sendRefusal(reply, page.error);
  });
};
