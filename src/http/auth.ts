import { timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { MeshError } from '../ports/mesh-error.ts';
import { HttpProblem } from './errors.ts';

/** The principal behind the data directory's admin token, the only one there is until tokens come. */
export const adminPrincipal = 'admin';

/** Throws 401 unless the request carries the token. */
export type TokenGate = (request: FastifyRequest) => void;

/** The comparison takes the same time wherever the first difference is. How long a token is, is no secret. */
export function createTokenGate(token: string): TokenGate {
  if (token === '') throw new MeshError('invalid_config', 'The admin token is empty.');
  const expected = Buffer.from(token);
  return (request) => {
    const { authorization } = request.headers;
    const given = authorization === undefined ? undefined : bearer.exec(authorization)?.[1];
    if (given === undefined) throw unauthorized('This call needs the header "Authorization: Bearer <token>".', '');
    const bytes = Buffer.from(given);
    if (bytes.length !== expected.length || !timingSafeEqual(bytes, expected)) {
      throw unauthorized('The token is not valid at this node.', ', error="invalid_token"');
    }
  };
}

const bearer = /^Bearer +(\S+) *$/i;

function unauthorized(message: string, parameters: string): HttpProblem {
  return new HttpProblem('unauthorized', message, {
    headers: { 'www-authenticate': `Bearer realm="anabranch"${parameters}` },
  });
}

const localAuthority = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i;

/**
 * Throws unless the request was meant for this machine by name. A page in a browser that rebinds its own
 * host name to 127.0.0.1 reaches this port, but still sends its own name.
 */
export function checkHost(request: FastifyRequest): void {
  const { url, headers } = request.raw;
  if (url?.charCodeAt(0) !== slash) throw new HttpProblem('invalid_request', 'The request target must be a path.');
  if (headers.host === undefined) throw new HttpProblem('invalid_request', 'The Host header is missing.');
  if (!localAuthority.test(headers.host)) {
    throw new HttpProblem('forbidden', 'This node answers only to localhost, 127.0.0.1 and [::1].');
  }
}

const slash = 47;

/** The address to bind for a configured host; anything but this machine's own is refused. */
export function loopbackAddress(host: string): '127.0.0.1' | '::1' {
  if (host === '127.0.0.1' || host === 'localhost') return '127.0.0.1';
  if (host === '::1' || host === '[::1]') return '::1';
  throw new MeshError(
    'invalid_config',
    `The HTTP API listens on loopback only, and "${host}" is not: use 127.0.0.1 or ::1.`,
    {
      detail: { host },
    },
  );
}
