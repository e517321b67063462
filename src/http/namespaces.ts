import type { NamespacePolicy } from '../node/api.ts';
import { bodyOf, change, takesJson } from './changes.ts';
import { policyBody, valuesBody } from './cluster-schemas.ts';
import type { Resource } from './context.ts';
import { HttpProblem } from './errors.ts';
import { jsonBodyBytesMax } from './limits.ts';
import { sendOutcome } from './outcomes.ts';
import { decodePercent } from './percent.ts';
import { noParameters } from './schemas.ts';
import { namespaceTarget, parametersOf } from './target.ts';

const configurationPrefix = '/v1/configuration/';

/** What namespaces ask of their objects, and what scopes have set. */
export const namespaces: Resource = (scope, context) => {
  const { cluster } = context.node;
  takesJson(scope);
  scope.get('/v1/namespaces', (request, reply) => {
    parametersOf(request.url, noParameters);
    reply.send({ namespaces: cluster.namespaces() });
  });
  scope.get('/v1/namespaces/:ns', (request, reply) => {
    parametersOf(request.url, noParameters);
    sendOutcome(reply, cluster.namespace(namespaceTarget(request.url)));
  });
  scope.put('/v1/namespaces/:ns', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    // The fold checks every field of it, and says what is wrong with which.
    const policy = bodyOf(request, policyBody).policy as NamespacePolicy;
    await change(context, request, reply, { type: 'namespace', ns: namespaceTarget(request.url), policy });
  });
  scope.get('/v1/configuration', (request, reply) => {
    parametersOf(request.url, noParameters);
    reply.send({ configuration: cluster.configuration() });
  });
  scope.get(`${configurationPrefix}*`, (request, reply) => {
    parametersOf(request.url, noParameters);
    sendOutcome(reply, cluster.configurationOf(scopeOf(request.url)));
  });
  scope.put(`${configurationPrefix}*`, { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { values } = bodyOf(request, valuesBody);
    await change(context, request, reply, { type: 'configuration', scope: scopeOf(request.url), values });
  });
};

/** A scope has slashes of its own, encoded or not. */
function scopeOf(url: string): string {
  const [path = ''] = url.split('?', 1);
  const scope = decodePercent(path.slice(configurationPrefix.length));
  if (scope === undefined) throw new HttpProblem('invalid_request', 'The path is not valid percent-encoded UTF-8.');
  return scope;
}
