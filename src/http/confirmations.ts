import type { Resource } from './context.ts';
import { sendOutcome } from './outcomes.ts';
import { confirmationParameters } from './schemas.ts';
import { objectTarget, parametersOf } from './target.ts';

export const confirmations: Resource = (scope, { node }) => {
  scope.post('/v1/confirmations/:ns/*', async (request, reply) => {
    const target = objectTarget(request.url);
    const { version } = parametersOf(request.url, confirmationParameters);
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const confirmed = await node.confirm({
      ...target,
      ...(version === undefined ? undefined : { version }),
      signal: gone.signal,
    });
    sendOutcome(reply, confirmed);
  });
};
