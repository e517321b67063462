import { createBlake3, toHex } from '../../crdt/digest.ts';
import type { VersionState } from '../node/api.ts';
import { ApiError, clientError } from './api-error.ts';
import type { Answer } from './transport.ts';

export const metaPrefix = 'x-anabranch-meta-';
const partialContent = 206;

/** A version that is being read. */
export interface ReadObject {
  readonly version: string;
  readonly state: VersionState;
  /** How many heads the object has. */
  readonly heads: number;
  /** The greatest head this read does not show. */
  readonly newer: string | null;
  readonly b3: string;
  readonly size: number;
  readonly type: string;
  readonly meta: Readonly<Record<string, string>>;
  /**
   * The content, checked against `b3`: the loop throws `content_mismatch` after the last piece when it differs. A connection
   * that is lost on the way is replaced once the node has sent something, and what the node then refuses is thrown.
   */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Asks for a version's bytes from one of them on. */
type RestOf = (version: string, from: number) => Promise<Answer>;

/** What an answer says it is, and its content. `name` is the object's, for messages. */
export function readObject(answer: Answer, name: string, restOf: RestOf): ReadObject {
  const b3 = answer.header('x-anabranch-b3') ?? '';
  const version = versionOf(answer);
  if (version === undefined || !/^[0-9a-f]{64}$/.test(b3)) {
    answer.discard();
    throw clientError(
      'bad_response',
      `The answer for ${name} does not say which version it is; is this an Anabranch node?`,
    );
  }
  return {
    version,
    state: answer.header('x-anabranch-state') === 'confirmed' ? 'confirmed' : 'provisional',
    heads: Number(answer.header('x-anabranch-heads') ?? 1),
    newer: answer.header('x-anabranch-newer') || null,
    b3,
    size: Number(answer.header('content-length') ?? 0),
    type: answer.header('content-type') ?? 'application/octet-stream',
    meta: metaOf(answer.headers),
    body: verified(resumed(answer, version, restOf), b3, name),
  };
}

const versionOf = (answer: Answer): string | undefined => /^"(.+)"$/.exec(answer.header('etag') ?? '')?.[1];

function metaOf(headers: Answer['headers']): Record<string, string> {
  const entries = Object.entries(headers).filter(([header]) => header.startsWith(metaPrefix));
  try {
    return Object.fromEntries(
      entries.map(([header, value]) => [
        decodeURIComponent(header.slice(metaPrefix.length)),
        decodeURIComponent(String(value)),
      ]),
    );
  } catch (cause) {
    throw clientError('bad_response', 'The answer has metadata that is not percent-encoded UTF-8', cause);
  }
}

/**
 * The content, asked for from where it breaks off as long as that brings more of it: HTTP lets a node say why it does not go
 * on only before the first byte of an answer, so the reason is what the next one is refused with.
 */
async function* resumed(first: Answer, version: string, restOf: RestOf): AsyncGenerator<Uint8Array, void, void> {
  let received = 0;
  for (let answer = first; ; ) {
    const before = received;
    try {
      for await (const piece of answer.body()) {
        received += piece.length;
        yield piece;
      }
      return;
    } catch (error) {
      if (!isLost(error) || received === before) throw error;
      answer = await restAfter(error, version, received, restOf);
    }
  }
}

const isLost = (error: unknown): error is ApiError => error instanceof ApiError && error.code === 'connection_lost';

/** The answer that goes on. Rejects with what the node says, or with how the connection was `lost` when it says nothing. */
async function restAfter(lost: ApiError, version: string, from: number, restOf: RestOf): Promise<Answer> {
  let answer: Answer;
  try {
    answer = await restOf(version, from);
  } catch (error) {
    throw error instanceof ApiError && error.status === 0 ? lost : error;
  }
  const continues = answer.header('content-range')?.startsWith(`bytes ${from}-`) === true;
  if (answer.status === partialContent && continues && versionOf(answer) === version) return answer;
  answer.discard();
  throw lost;
}

async function* verified(
  pieces: AsyncIterable<Uint8Array>,
  b3: string,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  const hash = createBlake3();
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
  const actual = toHex(hash.digest());
  if (actual !== b3) {
    throw clientError('content_mismatch', `The content of ${name} arrived damaged: its BLAKE3 is ${actual}, not ${b3}`);
  }
}
