import type { Resource } from './context.ts';
import { sendOutcome } from './outcomes.ts';
import { conflictParameters } from './schemas.ts';
import { parametersOf } from './target.ts';

export const conflicts: Resource = (scope, { node }) => {
  scope.get('/v1/conflicts', async (request, reply) => {
    sendOutcome(reply, await node.wholeConflicts(parametersOf(request.url, conflictParameters)));
  });
};
