import type { Resource } from './context.ts';
import { sendOutcome } from './outcomes.ts';
import { conflictParameters } from './schemas.ts';
import { parametersOf } from './target.ts';

export const conflicts: Resource = (scope, { node }) => {
  scope.get('/v1/conflicts', (request, reply) => {
    sendOutcome(reply, node.conflicts(parametersOf(request.url, conflictParameters)));
  });
};
