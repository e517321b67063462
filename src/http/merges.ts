import { adminPrincipal } from './auth.ts';
import type { Resource } from './context.ts';
import { HttpProblem } from './errors.ts';
import { jsonBodyBytesMax } from './limits.ts';
import { sendWritten } from './outcomes.ts';
import { mergeBody, mergeParameters } from './schemas.ts';
import { describeIssues, objectTarget, parametersOf } from './target.ts';

export const merges: Resource = (scope, { node }) => {
  scope.removeContentTypeParser('text/plain');
  scope.addHook('onRequest', (request, reply, done) => {
    if (request.headers.expect !== undefined) reply.raw.writeContinue();
    done();
  });
  scope.post('/v1/merges/:ns/*', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { ns, key } = objectTarget(request.url);
    const { commit } = parametersOf(request.url, mergeParameters);
    const body = mergeBody.safeParse(request.body);
    if (!body.success) throw new HttpProblem('invalid_request', describeIssues(body.error));
    const { parents, pick } = body.data;
    const merged = await node.merge({
      ns,
      key,
      parents,
      pick,
      author: adminPrincipal,
      ...(commit === undefined ? undefined : { commit }),
    });
    sendWritten(reply, merged);
  });
};
