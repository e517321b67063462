import { adminPrincipal } from './auth.ts';
import { bodyOf, takesJson } from './changes.ts';
import type { Resource } from './context.ts';
import { jsonBodyBytesMax } from './limits.ts';
import { sendWritten } from './outcomes.ts';
import { mergeBody, mergeParameters } from './schemas.ts';
import { objectTarget, parametersOf } from './target.ts';

export const merges: Resource = (scope, { node }) => {
  takesJson(scope);
  scope.post('/v1/merges/:ns/*', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { ns, key } = objectTarget(request.url);
    const { commit } = parametersOf(request.url, mergeParameters);
    const { parents, pick } = bodyOf(request, mergeBody);
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
