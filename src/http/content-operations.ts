import * as examples from './content-examples.ts';
import * as schemas from './content-schemas.ts';
import { json, type Operation } from './operation.ts';
import { noParameters } from './schemas.ts';

/** The calls about the content of the node that answers as data. */

export const contentOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/content/dead',
    id: 'listDeadContent',
    summary: 'List the contents that this node gave up getting',
    description:
      'They are tried again when a peer comes that may have them; what is `unusable`, by the call below alone.',
    parameters: schemas.givenUpParameters,
    answers: [{ status: 200, description: 'A page.', body: json(schemas.givenUpPage, { one: examples.givenUp }) }],
    problems: [],
  },
  {
    method: 'post',
    path: '/v1/content/dead/retry',
    id: 'retryDeadContent',
    summary: 'Have this node try again what it gave up',
    parameters: schemas.retryParameters,
    answers: [
      { status: 200, description: 'It is tried again.', body: json(schemas.retried, { one: examples.retried }) },
    ],
    problems: ['not_found', 'disk_full', 'unsupported_media_type'],
  },
  {
    method: 'get',
    path: '/v1/content/scrub',
    id: 'getScrub',
    summary: 'Read how far this node has read through its disk, and what it found',
    parameters: noParameters,
    answers: [
      { status: 200, description: 'The scrub.', body: json(schemas.contentScrub, { found: examples.scrubDone }) },
    ],
    problems: [],
  },
  {
    method: 'post',
    path: '/v1/content/scrub',
    id: 'scrubContent',
    summary: 'Have this node read through its disk now',
    description: 'As fast as `scrubRate` allows. Who asks while that is under way waits for the same.',
    parameters: schemas.scrubParameters,
    answers: [
      { status: 200, description: 'It is done.', body: json(schemas.contentScrub, { done: examples.scrubDone }) },
      { status: 202, description: 'It runs.', body: json(schemas.contentScrub, { runs: examples.scrubRuns }) },
    ],
    problems: ['unsupported_media_type'],
  },
];
