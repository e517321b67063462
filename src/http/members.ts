import type { AskedOperation } from '../node/api.ts';
import { bodyOf, change, segmentOf, takesJson } from './changes.ts';
import { addressesBody, admitBody, capacityBody, labelsBody, rolesBody } from './cluster-schemas.ts';
import type { Resource } from './context.ts';
import { jsonBodyBytesMax } from './limits.ts';

type Admitted = Extract<AskedOperation, { type: 'admit' }>['member'];
type Removed = Extract<AskedOperation, { type: 'remove' }>['nodeId'];

/** Who belongs to the cluster, and as what. */
export const members: Resource = (scope, context) => {
  takesJson(scope);
  const nodeIdOf = (url: string): Removed => segmentOf(url, 3) as Removed;
  scope.post('/v1/nodes', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { addresses = [], roles = ['storage'], labels = {}, ...identity } = bodyOf(request, admitBody);
    // The fold checks every field of it, and says what is wrong with which.
    const member = { ...identity, addresses, roles, labels } as unknown as Admitted;
    await change(context, request, reply, { type: 'admit', member });
  });
  scope.delete('/v1/nodes/:id', async (request, reply) => {
    await change(context, request, reply, { type: 'remove', nodeId: nodeIdOf(request.url) });
  });
  scope.put('/v1/nodes/:id/roles', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { roles } = bodyOf(request, rolesBody);
    await change(context, request, reply, { type: 'roles', nodeId: nodeIdOf(request.url), roles });
  });
  scope.put('/v1/nodes/:id/labels', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { labels } = bodyOf(request, labelsBody);
    await change(context, request, reply, { type: 'labels', nodeId: nodeIdOf(request.url), labels });
  });
  scope.put('/v1/nodes/:id/addresses', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { addresses } = bodyOf(request, addressesBody);
    await change(context, request, reply, { type: 'addresses', nodeId: nodeIdOf(request.url), addresses });
  });
  scope.put('/v1/nodes/:id/capacity', { bodyLimit: jsonBodyBytesMax }, async (request, reply) => {
    const { capacity } = bodyOf(request, capacityBody);
    await change(context, request, reply, { type: 'capacity', nodeId: nodeIdOf(request.url), capacity });
  });
};
