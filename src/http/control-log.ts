import { consistencyParameters, logParameters, proofParameters } from './cluster-schemas.ts';
import type { Resource } from './context.ts';
import { HttpProblem } from './errors.ts';
import { sendOutcome } from './outcomes.ts';
import { noParameters } from './schemas.ts';
import { parametersOf } from './target.ts';

/** The record of everything that administrators did, with what proves it. */
export const controlLog: Resource = (scope, { node: { cluster } }) => {
  scope.get('/v1/control-log', (request, reply) => {
    reply.send(cluster.entries(parametersOf(request.url, logParameters)));
  });
  scope.get('/v1/control-log/genesis', (request, reply) => {
    parametersOf(request.url, noParameters);
    // Its bytes are what the cluster's id is the hash of.
    reply.header('content-type', 'application/json; charset=utf-8').send(cluster.genesis());
  });
  scope.get('/v1/control-log/checkpoint', (request, reply) => {
    parametersOf(request.url, noParameters);
    reply.send(cluster.checkpoint());
  });
  scope.get('/v1/control-log/carry-over', async (request, reply) => {
    parametersOf(request.url, noParameters);
    sendOutcome(reply, await cluster.carryOver());
  });
  scope.get('/v1/control-log/proof', (request, reply) => {
    const { seq, ...size } = parametersOf(request.url, proofParameters);
    if (seq === undefined) throw new HttpProblem('invalid_request', '"seq" is needed: the number of an entry.');
    sendOutcome(reply, cluster.proof({ seq, ...size }));
  });
  scope.get('/v1/control-log/consistency', (request, reply) => {
    const { first, ...size } = parametersOf(request.url, consistencyParameters);
    if (first === undefined) throw new HttpProblem('invalid_request', '"first" is needed: a number of entries.');
    sendOutcome(reply, cluster.consistency({ first, ...size }));
  });
};
