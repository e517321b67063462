import type { BlobHash, VersionId } from '../../crdt/ids.ts';
import type { Outcome } from './api.ts';
import type { DeathReason, ScrubStatus } from './content/content-plane.ts';

/** What can be asked of the content on a node's own disk, and of what it could not get. */

/** A content, or a part of one, that this node gave up getting. */
export interface GivenUp {
  /** `content` is a whole content, `blob` one chunk or manifest that was lost here. */
  readonly kind: 'content' | 'blob';
  /** Of the content's manifest, or of the blob. */
  readonly hash: BlobHash;
  readonly size: number;
  /** Its manifest is made up, which nothing can mend; nobody had it for a day; or storing it failed for as long. */
  readonly reason: DeathReason;
  /** Attempts that failed in a row, and what the last of them failed with. */
  readonly attempts: number;
  readonly message: string;
  /** When it was given up, in milliseconds since the epoch, for display. */
  readonly time: number;
  /** A version that has the content; null for a part of one, and while none is known. */
  readonly version: { readonly ns: string; readonly key: string; readonly version: VersionId } | null;
}

export interface GivenUpInput {
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** 1 to 1,000; 100 when absent. */
  readonly limit?: number | undefined;
}

/** In the order of the hashes. */
export interface GivenUpPage {
  readonly dead: readonly GivenUp[];
  /** How many there are in all. */
  readonly count: number;
  readonly next: string | null;
}

/** The scrub of this node's disk. */
export interface ContentScrub extends ScrubStatus {
  /** A pass runs because somebody asked for it, as fast as the rate allows; else one goes on in the background. */
  readonly running: boolean;
}

/** The content of the node that answers, and of no other. */
export interface ContentApi {
  /** What was given up here. It stays until it is retried, or its content is wanted no more. */
  deadLetters(input?: GivenUpInput): Promise<Outcome<GivenUpPage>>;
  /** Tries one of them again, or all. `not_found` when that one was not given up. */
  retryDead(hash?: string): Promise<Outcome<{ readonly retried: number }>>;
  scrubStatus(): ContentScrub;
  /**
   * Has everything on the disk read again now, unless that is under way, and waits for the end for up to `waitMs`
   * (30 s at most, none when absent): it goes on after that. Rejects as reading the disk does.
   */
  scrubNow(request?: { readonly waitMs?: number }): Promise<ContentScrub>;
}
