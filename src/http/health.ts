import type { Resource } from './context.ts';
import { HttpProblem } from './errors.ts';

/** For supervisors and scrapers: without a token, and saying nothing about what is stored. */
export const health: Resource = (scope, { node, metricsText, closing }) => {
  scope.get('/healthz', (_request, reply) => {
    reply.send({ status: 'ok' });
  });
  scope.get('/readyz', (_request, reply) => {
    if (closing.aborted || !node.ready()) throw new HttpProblem('not_ready', 'The node is starting or stopping.');
    reply.send({ status: 'ready' });
  });
  scope.get('/metrics', async (_request, reply) => {
    reply.header('content-type', 'text/plain; version=0.0.4; charset=utf-8').send(await metricsText());
  });
};
