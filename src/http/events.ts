import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { MeshEvent } from '../node/api.ts';
import { writeChunk } from './content-response.ts';
import type { HttpContext, Resource } from './context.ts';
import { HttpProblem } from './errors.ts';
import { heartbeatMs } from './limits.ts';
import { noParameters } from './schemas.ts';
import { parametersOf } from './target.ts';

/** Server-sent events: what happened at this node, from now on or from `Last-Event-ID` on. */
export const events: Resource = (scope, context) => {
  let open = 0;
  scope.get('/v1/events', { exposeHeadRoute: false }, async (request, reply) => {
    parametersOf(request.url, noParameters);
    const after = lastEventId(request.headers);
    const { eventStreamsMax } = context.limits;
    if (open >= eventStreamsMax) {
      throw new HttpProblem('too_many_streams', `${eventStreamsMax} event streams are open already; close one first.`, {
        extras: { streamsMax: eventStreamsMax },
      });
    }
    open += 1;
    try {
      await streamEvents(context, reply, after);
    } finally {
      open -= 1;
    }
  });
};

function lastEventId(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['last-event-id'];
  if (text === undefined || text === '') return undefined;
  const id = /^\d{1,16}$/.test(text as string) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(id))
    throw new HttpProblem('invalid_request', 'Last-Event-ID is no id this node has given out.');
  return id;
}

async function streamEvents(context: HttpContext, reply: FastifyReply, after: number | undefined): Promise<void> {
  const { node, log, closing } = context;
  const response = reply.raw;
  const gone = new AbortController();
  const stop = (): void => gone.abort();
  response.once('close', stop);
  closing.addEventListener('abort', stop);
  reply.hijack();
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
  response.write(': connected\n\n');
  const stopHeartbeat = keepBeating(context, response);
  try {
    for await (const event of node.events({ signal: gone.signal, ...(after === undefined ? undefined : { after }) })) {
      if (!(await writeChunk(response, frameOf(event)))) break;
    }
  } catch (error) {
    if (!gone.signal.aborted) log.warn('http:events-failed', { error });
  } finally {
    stopHeartbeat();
    closing.removeEventListener('abort', stop);
    response.end();
  }
}

const frameOf = ({ id, type, data }: MeshEvent): string =>
  `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;

/** A comment now and then, so that both ends notice a dead connection. A client with data still unread gets none. */
function keepBeating({ clock }: HttpContext, response: ServerResponse): () => void {
  const beat = (): void => {
    if (response.writableLength === 0) response.write(': heartbeat\n\n');
    cancel = clock.setTimer(heartbeatMs, beat);
  };
  let cancel = clock.setTimer(heartbeatMs, beat);
  return () => cancel();
}
