import { isHash } from '../../crdt/digest.ts';
import { type BlobHash, ok } from '../../crdt/ids.ts';
import { endsWithin } from '../../protocols/wire/deadline.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { SubjectIndex } from '../replication/subject-index.ts';
import type { Outcome } from './api.ts';
import type { ContentAdmin, DeadLetter } from './content/content-plane.ts';
import type { ContentApi, ContentScrub, GivenUp, GivenUpInput, GivenUpPage } from './content-api.ts';
import { refuse } from './refusals.ts';

const lettersPerPageMax = 1_000;
const lettersPerPageDefault = 100;
/** A call that waits for a scrub gets its answer after this at the latest. */
const scrubWaitMsMax = 30_000;

export interface NodeContentDependencies {
  readonly content: ContentAdmin;
  readonly subjects: Pick<SubjectIndex, 'catchUp' | 'subjectOf'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** The content of this node, as its public face shows it. */
export class NodeContent implements ContentApi {
  readonly #dependencies: NodeContentDependencies;
  /** Nobody ends a scrub that was asked for but the node's stop, which ends all of them. */
  readonly #unending = new AbortController();
  #scrubbing: Promise<unknown> | undefined;

  constructor(dependencies: NodeContentDependencies) {
    this.#dependencies = dependencies;
  }

  async deadLetters({ after, limit = lettersPerPageDefault }: GivenUpInput = {}): Promise<Outcome<GivenUpPage>> {
    if (after !== undefined && !isHash(after)) {
      return refuse('invalid_request', 'after is where a page ended, as its next gave it');
    }
    if (!Number.isInteger(limit) || limit < 1 || limit > lettersPerPageMax) {
      return refuse('invalid_request', `limit is a whole number from 1 to ${lettersPerPageMax}`);
    }
    const { content, subjects } = this.#dependencies;
    const letters = content.deadLetters(limit, after as BlobHash | undefined);
    const last = letters.at(-1);
    const isMore = last !== undefined && content.deadLetters(1, last.hash).length > 0;
    // Which objects these are is read from an index that follows only when it is read.
    if (last !== undefined) await subjects.catchUp();
    const dead = letters.map((letter) => this.#givenUp(letter));
    return ok({ dead, count: content.deadCount(), next: isMore ? last.hash : null });
  }

  async retryDead(hash?: string): Promise<Outcome<{ readonly retried: number }>> {
    if (hash !== undefined && !isHash(hash)) return refuse('invalid_request', `'${hash}' is not the hash of a content`);
    const retried = await this.#dependencies.content.retryDead(hash as BlobHash | undefined);
    if (hash !== undefined && retried === 0) {
      return refuse('not_found', `nothing of the hash ${hash} was given up here: GET /v1/content/dead lists what was`);
    }
    return ok({ retried });
  }

  scrubStatus(): ContentScrub {
    return { ...this.#dependencies.content.scrubStatus(), running: this.#scrubbing !== undefined };
  }

  async scrubNow({ waitMs = 0 }: { readonly waitMs?: number } = {}): Promise<ContentScrub> {
    this.#scrubbing ??= this.#scrub();
    const ended = this.#scrubbing;
    if (waitMs > 0) await endsWithin(this.#dependencies.clock, Math.min(waitMs, scrubWaitMsMax), ended);
    return this.scrubStatus();
  }

  #scrub(): Promise<unknown> {
    const { content, log } = this.#dependencies;
    const ended = content.scrubNow(this.#unending.signal).finally(() => {
      this.#scrubbing = undefined;
    });
    // Whoever waits is told; nobody may be waiting.
    ended.catch((error: unknown) => {
      if (error instanceof MeshError && error.code === 'shutting_down') return;
      log.error('content:scrub_failed', { error });
    });
    return ended;
  }

  #givenUp({ kind, hash, sizeBytes, reason, attempts, message, time }: DeadLetter): GivenUp {
    const subject = kind === 'content' ? this.#dependencies.subjects.subjectOf(hash) : undefined;
    const version = subject === undefined ? null : { ns: subject.ns, key: subject.key, version: subject.version };
    return { kind, hash, size: sizeBytes, reason, attempts, message, time, version };
  }
}
