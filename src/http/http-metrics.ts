import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../ports/clock.ts';
import type { Metrics } from '../ports/metrics.ts';

/** Counts requests as they finish and object bytes as they move. */
export interface HttpMetrics {
  begin(request: FastifyRequest, reply: FastifyReply): void;
  received(bytes: number): void;
  sent(bytes: number): void;
}

const ignore = (): void => {};
const durationBuckets = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60];

export function createHttpMetrics(metrics: Metrics | undefined, clock: Clock): HttpMetrics {
  if (metrics === undefined) return { begin: ignore, received: ignore, sent: ignore };
  const requests = metrics.counter({
    name: 'anabranch_http_requests_total',
    help: 'Requests answered, or given up by their client (status "aborted").',
    labels: ['method', 'route', 'status'],
  });
  const durations = metrics.histogram({
    name: 'anabranch_http_request_duration_seconds',
    help: 'From the end of the headers to the end of the answer.',
    labels: ['method', 'route'],
    buckets: durationBuckets,
  });
  const received = metrics.counter({
    name: 'anabranch_http_content_received_bytes_total',
    help: 'Bytes of object content uploaded.',
  });
  const sent = metrics.counter({
    name: 'anabranch_http_content_sent_bytes_total',
    help: 'Bytes of object content handed to clients.',
  });
  return {
    begin(request, reply) {
      const startMs = clock.monotonicMs();
      const { method } = request;
      reply.raw.once('close', () => {
        const route = request.routeOptions.url ?? 'none';
        const status = reply.raw.writableFinished ? String(reply.raw.statusCode) : 'aborted';
        requests.add(1, { method, route, status });
        durations.observe((clock.monotonicMs() - startMs) / 1_000, { method, route });
      });
    },
    received: (bytes) => received.add(bytes),
    sent: (bytes) => sent.add(bytes),
  };
}
