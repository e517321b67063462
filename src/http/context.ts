import type { FastifyInstance } from 'fastify';
import type { MeshNode } from '../node/api.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Connections } from './connections.ts';
import type { HttpMetrics } from './http-metrics.ts';
import type { HttpLimits } from './limits.ts';

/** What a resource works with. */
export interface HttpContext {
  readonly node: HttpNode;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: HttpLimits;
  readonly connections: Connections;
  readonly metrics: HttpMetrics;
  readonly metricsText: () => Promise<string>;
  /** Aborts when the server begins to close. */
  readonly closing: AbortSignal;
}

/** The node without its life cycle, which is not the API's to run. */
export type HttpNode = Omit<MeshNode, 'start' | 'stop'>;

/** Adds a resource's routes. Each gets a scope of its own, so what it sets up there stays there. */
export type Resource = (scope: FastifyInstance, context: HttpContext) => void;
