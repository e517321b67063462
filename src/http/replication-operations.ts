import { changing } from './cluster-operations.ts';
import type { ProblemCode } from './errors.ts';
import { json, type Operation } from './operation.ts';
import * as examples from './replication-examples.ts';
import * as schemas from './replication-schemas.ts';
import { noParameters } from './schemas.ts';

/** The calls about where content should be and is as data. Any node answers for the whole mesh. */

const addressProblems: readonly ProblemCode[] = ['invalid_key', 'invalid_namespace'];

function changingDrain(call: Parameters<typeof changing>[0], nothingToDo: string): Operation {
  const operation = changing(call, undefined, ['unknown_node']);
  return { ...operation, answers: [...operation.answers, { status: 204, description: nothingToDo }] };
}

export const replicationOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/replication/placement',
    id: 'getPlacement',
    summary: 'Read who should hold an object’s content',
    description: 'The object need not exist.',
    parameters: schemas.placementParameters,
    answers: [
      {
        status: 200,
        description: 'The placement.',
        body: json(schemas.placement, { twoCentres: examples.placement, degraded: examples.degradedPlacement }),
      },
    ],
    problems: addressProblems,
  },
  {
    method: 'post',
    path: '/v1/replication/preview',
    id: 'previewChange',
    summary: 'See what would move if a node left, joined, drained or changed',
    description: 'Nothing is changed. What a node has already is not counted as to be fetched.',
    parameters: noParameters,
    requestBody: json(schemas.previewBody, { leave: examples.previewRequest, join: examples.joinRequest }),
    answers: [{ status: 200, description: 'A page.', body: json(schemas.movePreview, { leave: examples.preview }) }],
    problems: ['unknown_node', 'coordinators_unavailable', 'incomplete_body', 'too_large', 'unsupported_media_type'],
  },
  {
    method: 'get',
    path: '/v1/replication/status',
    id: 'getReplication',
    summary: 'Read how replication stands',
    parameters: noParameters,
    answers: [
      {
        status: 200,
        description: 'By the last audits.',
        body: json(schemas.replicationStatus, { oneAway: examples.status }),
      },
    ],
    problems: [],
  },
  {
    method: 'get',
    path: '/v1/replication/plan',
    id: 'getRepairPlan',
    summary: 'List the repairs that run, or would if nodes stayed away',
    parameters: schemas.planParameters,
    answers: [{ status: 200, description: 'A page.', body: json(schemas.repairPlan, { waiting: examples.plan }) }],
    problems: [],
  },
  {
    method: 'post',
    path: '/v1/replication/audit',
    id: 'auditReplication',
    summary: 'Have replication audited now',
    description: 'No coordinator runs two audits at once: who asks while one runs is given the next.',
    parameters: schemas.auditParameters,
    answers: [
      { status: 200, description: 'It is done.', body: json(schemas.auditOutcome, { done: examples.auditDone }) },
      { status: 202, description: 'It runs.', body: json(schemas.auditOutcome, { runs: examples.auditRuns }) },
    ],
    problems: ['unsupported_media_type'],
  },
  {
    method: 'get',
    path: '/v1/replicas/{ns}/{key}',
    id: 'getReplicas',
    summary: 'Read who holds the contents of an object’s versions',
    parameters: schemas.replicaParameters,
    answers: [{ status: 200, description: 'A page.', body: json(schemas.replicaPage, { one: examples.replicas }) }],
    problems: [
      ...addressProblems,
      'invalid_version',
      'not_found',
      'deleted',
      'version_not_found',
      'metadata_unavailable',
    ],
  },
  changingDrain(
    {
      method: 'post',
      path: '/v1/nodes/{id}/drain',
      id: 'drainNode',
      summary: 'Have a member’s content move elsewhere',
      description: 'Nothing is placed on it any more. GET tells when it may be switched off.',
    },
    'It drains already, and nothing was entered. With an `Idempotency-Key` the call is made all the same.',
  ),
  changingDrain(
    { method: 'delete', path: '/v1/nodes/{id}/drain', id: 'undrainNode', summary: 'Use a member that drained again' },
    'It does not drain, and nothing was entered. With an `Idempotency-Key` the call is made all the same.',
  ),
  {
    method: 'get',
    path: '/v1/nodes/{id}/drain',
    id: 'getDrain',
    summary: 'Read how far a member that drains has come',
    description: 'Each look has copies proved that nobody had seen a proof of, so that the next one counts them.',
    parameters: noParameters,
    answers: [
      {
        status: 200,
        description: 'The progress.',
        body: json(schemas.drainStatus, { underWay: examples.drain, safe: examples.drained }),
      },
    ],
    problems: ['unknown_node', 'coordinators_unavailable'],
  },
];
