import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Metrics } from '../ports/metrics.ts';
import { checkHost, createTokenGate, loopbackAddress, type TokenGate } from './auth.ts';
import { confirmations } from './confirmations.ts';
import { conflicts } from './conflicts.ts';
import { Connections } from './connections.ts';
import { content } from './content.ts';
import type { HttpContext, HttpNode, Resource } from './context.ts';
import { controlLog } from './control-log.ts';
import { HttpProblem, problemOf, sendProblem } from './errors.ts';
import { events } from './events.ts';
import { graphs } from './graphs.ts';
import { health } from './health.ts';
import { createHttpMetrics } from './http-metrics.ts';
import {
  connectionsMax,
  defaultLimits,
  type HttpLimits,
  headerBytesMax,
  jsonBodyBytesMax,
  keepAliveMs,
} from './limits.ts';
import { members } from './members.ts';
import { merges } from './merges.ts';
import { namespaces } from './namespaces.ts';
import { objects } from './objects.ts';
import { openApi } from './openapi.ts';
import { replication } from './replication.ts';
import { status } from './status.ts';

export interface HttpServerDependencies {
  readonly node: HttpNode;
  readonly token: string;
  readonly metricsText: () => Promise<string>;
  readonly log: Log;
  readonly clock: Clock;
  /** Counts requests and bytes; without it nothing is counted. */
  readonly metrics?: Metrics;
}

export interface HttpServerOptions {
  /** `127.0.0.1`, `::1` or `localhost`; the API is not served anywhere else. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly limits?: Partial<HttpLimits>;
}

export interface HttpServer {
  /** `http://127.0.0.1:7400`, with the port that was bound. */
  readonly url: string;
  /** Stops accepting, ends event streams, lets requests in flight finish within a bound, then cuts what is left. */
  close(): Promise<void>;
}

/** Everything under `/v1` needs the token; what supervisors, scrapers and API explorers read does not. */
const guardedResources: readonly Resource[] = [
  objects,
  graphs,
  merges,
  confirmations,
  conflicts,
  events,
  status,
  members,
  namespaces,
  controlLog,
  replication,
  content,
];
const openResources: readonly Resource[] = [health, openApi];

/** Serves API version 1. Rejects with `MeshError` `invalid_config` when it may not or cannot listen there. */
export async function createHttpServer(deps: HttpServerDependencies, options: HttpServerOptions): Promise<HttpServer> {
  const host = loopbackAddress(options.host);
  const limits = { ...defaultLimits, ...options.limits };
  const closing = new AbortController();
  const connections = new Connections(deps, limits);
  const context: HttpContext = {
    node: deps.node,
    clock: deps.clock,
    log: deps.log,
    limits,
    connections,
    metrics: createHttpMetrics(deps.metrics, deps.clock),
    metricsText: deps.metricsText,
    closing: closing.signal,
  };
  const app = buildApp(context, createTokenGate(deps.token));
  const url = await listen(app, host, options.port);
  return {
    url,
    close: async () => {
      closing.abort();
      connections.drain();
      const cancelCut = deps.clock.setTimer(limits.drainMs, () => app.server.closeAllConnections());
      await app.close();
      cancelCut();
    },
  };
}

function buildApp(context: HttpContext, checkToken: TokenGate): FastifyInstance {
  const { limits, connections } = context;
  const app = fastify({
    logger: false,
    bodyLimit: jsonBodyBytesMax,
    connectionTimeout: limits.idleMs,
    keepAliveTimeout: keepAliveMs,
    // An upload takes as long as it takes: only its progress is timed.
    requestTimeout: 0,
    return503OnClosing: false,
    routerOptions: { maxParamLength: headerBytesMax },
    http: { maxHeaderSize: headerBytesMax, headersTimeout: limits.headersMs, requireHostHeader: false },
    clientErrorHandler: (error, socket) => connections.onClientError(error, socket),
    frameworkErrors: (error, request, reply) => {
      // The router gave up before any hook ran.
      try {
        enter(context, request, reply);
        checkUnrouted(request, checkToken);
        throw isKeyed(request.url)
          ? new HttpProblem('invalid_key', 'The key is not valid percent-encoded UTF-8.')
          : error;
      } catch (refused) {
        answerError(context, refused, request, reply);
      }
    },
  });
  connections.attach(app.server);
  app.server.maxConnections = connectionsMax;
  // Headers past a count are dropped without a word; the bound on their bytes is enough.
  app.server.maxHeadersCount = 0;
  app.setErrorHandler((error, request, reply) => answerError(context, error, request, reply));
  app.addHook('onRequest', (request, reply, done) => {
    enter(context, request, reply);
    done();
  });
  const allowedMethods = noteMethods(app);
  app.setNotFoundHandler((request) => {
    checkUnrouted(request, checkToken);
    throw nothingHere(request, allowedMethods);
  });
  for (const resource of openResources) app.register(async (scope) => resource(scope, context));
  app.register(async (guarded) => {
    guarded.addHook('onRequest', (request, _reply, done) => {
      checkToken(request);
      done();
    });
    for (const resource of guardedResources) guarded.register(async (scope) => resource(scope, context));
  });
  return app;
}

/** True for a path that should name an object. */
const isKeyed = (url: string): boolean => /^\/v1\/(?:objects|graphs|merges|confirmations|replicas)\/[^/?]+\//.test(url);

/** What every request passes first. */
function enter(context: HttpContext, request: FastifyRequest, reply: FastifyReply): void {
  context.connections.begin(reply.raw);
  context.metrics.begin(request, reply);
  checkHost(request);
  if (context.closing.aborted) throw new HttpProblem('shutting_down', 'The node is shutting down; ask another one.');
}

/** A stranger does not learn what is not there under `/v1` either. */
function checkUnrouted(request: FastifyRequest, checkToken: TokenGate): void {
  if (request.url.startsWith('/v1')) checkToken(request);
}

function answerError(context: HttpContext, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const problem = problemOf(error);
  // A client that has gone fails what was under way for it; that is no fault of the node.
  if ((problem.code === 'internal' || problem.code === 'damaged') && !reply.raw.destroyed) {
    context.log.error('http:failed', { method: request.method, route: request.routeOptions.url, error });
  }
  sendProblem(reply, problem);
}

/** Collects every route's methods as the routes are added, by a pattern of its paths. */
function noteMethods(app: FastifyInstance): (path: string) => readonly string[] {
  const methodsOf = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const source = url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+').replace('*', '.*');
    const route = methodsOf.get(url) ?? { pattern: new RegExp(`^${source}$`), methods: new Set() };
    for (const each of [method].flat()) route.methods.add(each);
    methodsOf.set(url, route);
  });
  return (path) => [...methodsOf.values()].flatMap(({ pattern, methods }) => (pattern.test(path) ? [...methods] : []));
}

function nothingHere(request: FastifyRequest, allowedMethods: (path: string) => readonly string[]): HttpProblem {
  const [path = ''] = request.url.split('?', 1);
  const allowed = allowedMethods(path);
  if (allowed.length === 0) return new HttpProblem('not_found', 'No such resource; /openapi.json lists what there is.');
  return new HttpProblem('method_not_allowed', `${request.method} is not allowed here.`, {
    extras: { allowed },
    headers: { allow: allowed.join(', ') },
  });
}

async function listen(app: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (error) {
    await app.close();
    throw new MeshError('invalid_config', `The HTTP API cannot listen on ${host}, port ${port}: ${reasonOf(error)}.`, {
      cause: error,
      detail: { host, port },
    });
  }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return 'the port is already in use';
  if (code === 'EACCES') return 'the port may not be used without privileges';
  return error instanceof Error ? error.message : String(error);
}
