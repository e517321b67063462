import type { FastifyReply } from 'fastify';
import type { Outcome, Refusal, WrittenVersion } from '../node/api.ts';
import { HttpProblem, sendProblem } from './errors.ts';
import { entityTag } from './preconditions.ts';

/** What the node answered, as a response. Values go out as they are: their shape is the API's. */

export function sendOutcome(reply: FastifyReply, outcome: Outcome<unknown>): void {
  if (outcome.ok) reply.send(outcome.value);
  else sendRefusal(reply, outcome.error);
}

export function sendWritten(reply: FastifyReply, outcome: Outcome<WrittenVersion>): void {
  if (outcome.ok) reply.code(201).header('etag', entityTag(outcome.value.version)).send(outcome.value);
  else sendRefusal(reply, outcome.error);
}

export function sendRefusal(reply: FastifyReply, refusal: Refusal): void {
  sendProblem(reply, new HttpProblem(refusal.code, refusal.message, { extras: refusal.detail ?? {} }));
}
