import type { z } from 'zod';
import * as examples from './cluster-examples.ts';
import * as schemas from './cluster-schemas.ts';
import type { ProblemCode } from './errors.ts';
import { type Body, json, type Operation } from './operation.ts';
import { noParameters } from './schemas.ts';

/** The calls about the cluster as data, as `operations.ts` has the others. */

const changed = [
  {
    status: 200,
    description: 'In the control log, by this call or by an earlier one of the same operation id.',
    body: json(schemas.committedChange, { committed: examples.committed }),
  },
];
const endings: readonly ProblemCode[] = ['quorum_unavailable', 'unknown_outcome', 'operation_reused', 'log_moved'];
const bodyProblems: readonly ProblemCode[] = ['incomplete_body', 'too_large', 'unsupported_media_type'];
const coordinatorProblems: readonly ProblemCode[] = [
  'last_coordinator',
  'too_many_coordinators',
  'several_coordinator_changes',
  'carry_over_running',
];
const storeProblems: readonly ProblemCode[] = ['disk_full'];

/** A call that changes the cluster by an operation of the control log. */
export function changing(
  call: Pick<Operation, 'method' | 'path' | 'id' | 'summary'> & { readonly description?: string },
  requestBody: Body | undefined,
  problems: readonly ProblemCode[],
): Operation {
  return {
    ...call,
    parameters: schemas.changeParameters,
    requestHeaders: [
      {
        name: 'Idempotency-Key',
        description: 'The operation id: the same call made again under it is done once. Drawn when absent.',
        example: examples.committed.operationId,
      },
    ],
    ...(requestBody === undefined ? undefined : { requestBody }),
    answers: changed,
    problems: [...problems, ...endings, ...storeProblems, ...bodyProblems],
  };
}

function reading(
  call: Pick<Operation, 'path' | 'id' | 'summary'>,
  body: Body,
  parameters: z.ZodObject = noParameters,
  problems: readonly ProblemCode[] = [],
): Operation {
  return { method: 'get', ...call, parameters, answers: [{ status: 200, description: 'It.', body }], problems };
}

export const clusterOperations: readonly Operation[] = [
  changing(
    { method: 'post', path: '/v1/nodes', id: 'admitNode', summary: 'Take a node in as a member' },
    json(schemas.admitBody, { storage: examples.admitted }),
    ['name_taken', 'node_taken', 'key_taken', 'key_removed', 'too_many', ...coordinatorProblems],
  ),
  changing(
    {
      method: 'delete',
      path: '/v1/nodes/{id}',
      id: 'removeNode',
      summary: 'Put a member out',
      description:
        'Wherever the entry arrives its connections are closed as soon as it has been told, within a second. Its key ' +
        'never comes back.',
    },
    undefined,
    ['unknown_node', ...coordinatorProblems],
  ),
  changing(
    { method: 'put', path: '/v1/nodes/{id}/roles', id: 'setNodeRoles', summary: 'Set a member’s roles' },
    json(schemas.rolesBody, { coordinator: { roles: ['coordinator', 'storage'] } }),
    ['unknown_node', ...coordinatorProblems],
  ),
  changing(
    { method: 'put', path: '/v1/nodes/{id}/labels', id: 'setNodeLabels', summary: 'Set a member’s labels' },
    json(schemas.labelsBody, { place: { labels: { dc: 'fra1', rack: 'a4' } } }),
    ['unknown_node'],
  ),
  changing(
    {
      method: 'put',
      path: '/v1/nodes/{id}/addresses',
      id: 'setNodeAddresses',
      summary: 'Set the addresses a member is dialled at',
      description: 'Who is not connected to it dials the new ones at once. What it listens on is its own to say.',
    },
    json(schemas.addressesBody, { moved: { addresses: ['/ip4/10.0.0.7/tcp/7400'] } }),
    ['unknown_node'],
  ),
  changing(
    {
      method: 'put',
      path: '/v1/nodes/{id}/capacity',
      id: 'setNodeCapacity',
      summary: 'Say how much a member holds',
      description: 'Placement weighs members by it; one of whom nothing was said counts as step 20.',
    },
    json(schemas.capacityBody, { twoTebibytes: { capacity: 22 } }),
    ['unknown_node'],
  ),
  reading(
    { path: '/v1/namespaces', id: 'listNamespaces', summary: 'List namespaces that have a policy' },
    json(schemas.namespaceList, { one: { namespaces: [examples.namespace] } }),
  ),
  reading(
    { path: '/v1/namespaces/{ns}', id: 'getNamespace', summary: 'Read a namespace’s policy' },
    json(schemas.namespaceInfo, { set: examples.namespace }),
    noParameters,
    ['invalid_namespace'],
  ),
  changing(
    { method: 'put', path: '/v1/namespaces/{ns}', id: 'setNamespace', summary: 'Set a namespace’s policy' },
    json(schemas.policyBody, { twoCentres: { policy: examples.namespace.policy } }),
    ['invalid_namespace', 'too_many'],
  ),
  reading(
    { path: '/v1/configuration', id: 'listConfiguration', summary: 'List what scopes have set' },
    json(schemas.configurationList, { one: examples.configuration }),
  ),
  reading(
    { path: '/v1/configuration/{scope}', id: 'getConfiguration', summary: 'Read what a scope has set' },
    json(schemas.scopeConfiguration, { cleanup: examples.scopeConfiguration }),
  ),
  changing(
    {
      method: 'put',
      path: '/v1/configuration/{scope}',
      id: 'setConfiguration',
      summary: 'Set a scope’s configuration',
    },
    json(schemas.valuesBody, { cleanup: { values: examples.scopeConfiguration.values } }),
    ['too_many'],
  ),
  reading(
    { path: '/v1/control-log', id: 'listControlLog', summary: 'Read the control log' },
    json(schemas.logListing, { first: examples.logListing }),
    schemas.logParameters,
  ),
  reading(
    { path: '/v1/control-log/genesis', id: 'getGenesis', summary: 'Read the genesis entry, exactly' },
    json(schemas.genesisEntry, { laptop: examples.genesis }),
  ),
  reading(
    { path: '/v1/control-log/checkpoint', id: 'getCheckpoint', summary: 'Read where the control log ends' },
    json(schemas.checkpoint, { one: examples.checkpoint }),
  ),
  reading(
    {
      path: '/v1/control-log/carry-over',
      id: 'getCarryOver',
      summary: 'Read how far the registers have come to the present coordinators',
    },
    json(schemas.carryOver, { underWay: examples.carryOver }),
    noParameters,
    ['quorum_unavailable'],
  ),
  reading(
    { path: '/v1/control-log/proof', id: 'proveEntry', summary: 'Prove that an entry is in the control log' },
    json(schemas.inclusionProof, { first: examples.inclusionProof }),
    schemas.proofParameters,
    ['not_found'],
  ),
  reading(
    {
      path: '/v1/control-log/consistency',
      id: 'proveConsistency',
      summary: 'Prove that the control log only grew',
    },
    json(schemas.consistencyProof, { first: examples.consistencyProof }),
    schemas.consistencyParameters,
    ['not_found'],
  ),
];
