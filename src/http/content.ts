import { takesJson } from './changes.ts';
import { givenUpParameters, retryParameters, scrubParameters } from './content-schemas.ts';
import type { Resource } from './context.ts';
import { sendOutcome } from './outcomes.ts';
import { noParameters } from './schemas.ts';
import { parametersOf } from './target.ts';

/** What this node keeps of content, and what it could not get. */
export const content: Resource = (scope, { node }) => {
  takesJson(scope);
  scope.get('/v1/content/dead', async (request, reply) => {
    sendOutcome(reply, await node.content.deadLetters(parametersOf(request.url, givenUpParameters)));
  });
  scope.post('/v1/content/dead/retry', async (request, reply) => {
    sendOutcome(reply, await node.content.retryDead(parametersOf(request.url, retryParameters).hash));
  });
  scope.get('/v1/content/scrub', (request, reply) => {
    parametersOf(request.url, noParameters);
    reply.send(node.content.scrubStatus());
  });
  scope.post('/v1/content/scrub', async (request, reply) => {
    const { wait = 0 } = parametersOf(request.url, scrubParameters);
    const scrub = await node.content.scrubNow({ waitMs: wait * 1_000 });
    reply.code(scrub.running ? 202 : 200).send(scrub);
  });
};
