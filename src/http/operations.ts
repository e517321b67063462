import { clusterOperations } from './cluster-operations.ts';
import { contentOperations } from './content-operations.ts';
import type { ProblemCode } from './errors.ts';
import * as examples from './examples.ts';
import { type Body, json, type Operation, type RequestHeader } from './operation.ts';
import { replicationOperations } from './replication-operations.ts';
import * as schemas from './schemas.ts';

/** Every call of the API as data: what it takes, what it answers, and how it can be refused. */

/** Any call can end so, whatever it is. */
export const commonProblems: readonly ProblemCode[] = [
  'invalid_request',
  'forbidden',
  'request_timeout',
  'expectation_failed',
  'headers_too_large',
  'internal',
  'damaged',
  'shutting_down',
];

const objectPath = '/v1/objects/{ns}/{key}';
const addressProblems = ['invalid_key', 'invalid_namespace'] as const;
const parentProblems = ['invalid_version', 'unknown_parent', 'foreign_parent'] as const;
const historyProblems = ['too_many_heads', 'context_too_large', 'not_a_descendant'] as const;
const storeProblems = ['quorum_unavailable', 'metadata_unavailable', 'disk_full'] as const;
const writeProblems = [
  'not_permitted',
  ...addressProblems,
  ...parentProblems,
  ...historyProblems,
  ...storeProblems,
] as const;
const missing = ['not_found', 'deleted', 'version_not_found', 'not_confirmed', 'metadata_unavailable'] as const;
const stateHeaders = ['ETag', 'X-Anabranch-State', 'X-Anabranch-Heads', 'X-Anabranch-Newer', 'X-Anabranch-B3'] as const;
const contentHeaders = [...stateHeaders, 'X-Anabranch-Meta-Title', 'Accept-Ranges'] as const;
const bytes: Body = { mediaType: '*/*', examples: { note: examples.objectContent } };

const ifMatch: RequestHeader = {
  name: 'If-Match',
  description: 'The one version this write supersedes, in quotes; the same as `?parents=` with one id.',
  example: examples.headerValues.ETag,
};
const metaHeader: RequestHeader = {
  name: 'X-Anabranch-Meta-Title',
  description: 'Any `X-Anabranch-Meta-<name>` becomes `meta`: UTF-8, percent-encoded where a header cannot carry it.',
  example: examples.headerValues['X-Anabranch-Meta-Title'],
};
const ifNoneMatch: RequestHeader = {
  name: 'If-None-Match',
  description: 'Answer 304 when this is still the version.',
  example: examples.headerValues.ETag,
};

export const operations: readonly Operation[] = [
  {
    method: 'put',
    path: objectPath,
    id: 'putObject',
    summary: 'Write a version of an object',
    description:
      'The body of any type and length is the content; `Content-Type` becomes `type`. One that is no media type, as without ' +
      'a "/", is refused with 415.',
    parameters: schemas.writeParameters,
    requestHeaders: [ifMatch, metaHeader],
    requestBody: bytes,
    answers: [
      {
        status: 201,
        description: 'Stored and flushed; with `?commit=quorum`, confirmed as well.',
        headers: ['ETag'],
        body: json(schemas.writtenVersion, {
          first: examples.written.put,
          besideAnother: examples.written.branch,
          byQuorum: examples.written.confirmed,
          merge: examples.written.merge,
        }),
      },
    ],
    problems: [...writeProblems, 'incomplete_body', 'too_large', 'unsupported_media_type'],
  },
  {
    method: 'get',
    path: objectPath,
    id: 'getObject',
    summary: 'Read an object’s content',
    parameters: schemas.readParameters,
    requestHeaders: [
      ifNoneMatch,
      { name: 'Range', description: 'One range of bytes.', example: 'bytes=4-8' },
      { name: 'If-Range', description: 'Take the range only of this version.', example: examples.headerValues.ETag },
    ],
    answers: [
      { status: 200, description: 'The content.', headers: contentHeaders, body: bytes },
      {
        status: 206,
        description: 'The range that was asked for.',
        headers: [...contentHeaders, 'Content-Range'],
        body: { mediaType: '*/*', examples: { word: 'river' } },
      },
      { status: 304, description: 'Still the version of `If-None-Match`.', headers: stateHeaders },
    ],
    problems: [...addressProblems, 'invalid_version', ...missing, 'range_not_satisfiable', 'content_unavailable'],
  },
  {
    method: 'head',
    path: objectPath,
    id: 'headObject',
    summary: 'Read what GET would say of an object',
    parameters: schemas.readParameters,
    requestHeaders: [ifNoneMatch],
    answers: [
      { status: 200, description: 'The headers of the content.', headers: contentHeaders },
      { status: 304, description: 'Still the version of `If-None-Match`.', headers: stateHeaders },
    ],
    problems: [...addressProblems, 'invalid_version', ...missing],
  },
  {
    method: 'delete',
    path: objectPath,
    id: 'deleteObject',
    summary: 'Write a tombstone',
    description:
      'With no parents named, an object that never was answers 404 `not_found`, and one that is deleted already 404 `deleted`: ' +
      'there is nothing that a tombstone would take away. Named parents get one in any case.',
    parameters: schemas.writeParameters,
    requestHeaders: [ifMatch],
    answers: [
      {
        status: 201,
        description: 'The tombstone is stored and flushed.',
        headers: ['ETag'],
        body: json(schemas.writtenVersion, { tombstone: examples.written.tombstone }),
      },
    ],
    problems: [...writeProblems, 'not_found', 'deleted', 'unsupported_media_type'],
  },
  {
    method: 'get',
    path: '/v1/objects/{ns}',
    id: 'listObjects',
    summary: 'List a namespace',
    description: 'A page may be shorter than its limit: the last one has no `next`.',
    parameters: schemas.listParameters,
    answers: [{ status: 200, description: 'A page.', body: json(schemas.listing, { page: examples.listing }) }],
    problems: ['invalid_namespace', 'invalid_key', 'metadata_unavailable'],
  },
  {
    method: 'get',
    path: '/v1/graphs/{ns}/{key}',
    id: 'getGraph',
    summary: 'Read an object’s version graph',
    parameters: schemas.noParameters,
    answers: [{ status: 200, description: 'The graph.', body: json(schemas.objectGraph, { fork: examples.graph }) }],
    problems: [...addressProblems, 'not_found', 'metadata_unavailable'],
  },
  {
    method: 'post',
    path: '/v1/merges/{ns}/{key}',
    id: 'mergeHeads',
    summary: 'Join heads, adopting one side’s content',
    description: 'Content merged by hand is a PUT that names all parents.',
    parameters: schemas.mergeParameters,
    requestBody: json(schemas.mergeBody, { pickRight: examples.mergeRequest }),
    answers: [
      {
        status: 201,
        description: 'The merge is stored and flushed.',
        headers: ['ETag'],
        body: json(schemas.writtenVersion, { merge: examples.written.merge }),
      },
    ],
    problems: [...writeProblems, 'not_found', 'incomplete_body', 'too_large', 'unsupported_media_type'],
  },
  {
    method: 'post',
    path: '/v1/confirmations/{ns}/{key}',
    id: 'confirmVersion',
    summary: 'Have a version confirmed by a quorum of the coordinators',
    description: 'Confirmation follows a write by itself; this asks for it now, and gives the certificate.',
    parameters: schemas.confirmationParameters,
    answers: [
      {
        status: 200,
        description: 'It is the confirmed head or an ancestor of it.',
        body: json(schemas.confirmation, { first: examples.confirmation }),
      },
    ],
    problems: [
      ...addressProblems,
      'invalid_version',
      'not_found',
      'version_not_found',
      'not_a_descendant',
      'quorum_unavailable',
      'metadata_unavailable',
    ],
  },
  {
    method: 'get',
    path: '/v1/conflicts',
    id: 'listConflicts',
    summary: 'List objects with two or more heads',
    parameters: schemas.conflictParameters,
    answers: [
      { status: 200, description: 'A page.', body: json(schemas.conflictPage, { page: examples.conflictPage }) },
    ],
    problems: ['invalid_namespace', 'metadata_unavailable'],
  },
  {
    method: 'get',
    path: '/v1/events',
    id: 'streamEvents',
    summary: 'Follow what happens at this node',
    description:
      'Server-sent events: `id`, `event` (the type) and `data` (JSON, as `data` of `MeshEvent`). The numbers are those of ' +
      'this node and its disk: another node has others.',
    parameters: schemas.noParameters,
    requestHeaders: [
      {
        name: 'Last-Event-ID',
        description:
          'Resume after this event. A number that this node has not given out yet (it is another node’s, or the disk is ' +
          'new) gets all events that are kept.',
        example: '41',
      },
    ],
    answers: [
      {
        status: 200,
        description: 'The stream.',
        body: { mediaType: 'text/event-stream', examples: { each: eventStream(examples.events) } },
      },
    ],
    problems: ['too_many_streams'],
  },
  {
    method: 'get',
    path: '/v1/status',
    id: 'getStatus',
    summary: 'This node’s state',
    parameters: schemas.noParameters,
    answers: [{ status: 200, description: 'The state.', body: json(schemas.nodeStatus, { healthy: examples.status }) }],
    problems: [],
  },
  {
    method: 'get',
    path: '/v1/nodes',
    id: 'listNodes',
    summary: 'The members of the mesh',
    parameters: schemas.noParameters,
    answers: [{ status: 200, description: 'The members.', body: json(schemas.nodeList, { two: examples.nodes }) }],
    problems: [],
  },
  ...clusterOperations,
  ...replicationOperations,
  ...contentOperations,
  {
    method: 'get',
    path: '/healthz',
    id: 'isAlive',
    summary: 'Whether the process runs',
    open: true,
    answers: [{ status: 200, description: 'It runs.', body: json(schemas.health, { ok: { status: 'ok' } }) }],
    problems: [],
  },
  {
    method: 'get',
    path: '/readyz',
    id: 'isReady',
    summary: 'Whether the node serves',
    open: true,
    answers: [{ status: 200, description: 'It serves.', body: json(schemas.health, { ready: { status: 'ready' } }) }],
    problems: ['not_ready'],
  },
  {
    method: 'get',
    path: '/metrics',
    id: 'getMetrics',
    summary: 'Prometheus metrics',
    open: true,
    answers: [
      {
        status: 200,
        description: 'Text format 0.0.4.',
        body: { mediaType: 'text/plain', examples: { requests: examples.metricsPage } },
      },
    ],
    problems: [],
  },
  {
    method: 'get',
    path: '/openapi.json',
    id: 'getOpenApi',
    summary: 'This document',
    open: true,
    answers: [
      {
        status: 200,
        description: 'OpenAPI 3.1.',
        body: json(schemas.openApiDocument, { start: { openapi: '3.1.0' } }),
      },
    ],
    problems: [],
  },
];

function eventStream(events: typeof examples.events): string {
  return events.map(({ id, type, data }) => `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`).join('');
}
