import type { Outcome, WrittenVersion } from './api.ts';

/**
 * The proposal of a version that begins while the version is on its way to disk, so that this node's own vote goes to disk
 * together with it. Nobody else is asked before that: until then the version, and its content, may be nowhere.
 */
export class EarlyProposal {
  readonly #flushed = Promise.withResolvers<void>();
  #outcome: Promise<Outcome<WrittenVersion>> | undefined;

  constructor() {
    this.#flushed.promise.catch(() => undefined);
  }

  /**
   * Begins it, in a turn of its own: called within the transaction that writes the version.
   *
   * @param propose is given what resolves when the version is on disk, and rejects when it will not be; it proposes the version
   */
  begin(propose: (flushed: Promise<void>) => Promise<Outcome<WrittenVersion>>): void {
    this.#outcome = Promise.resolve().then(() => propose(this.#flushed.promise));
    this.#outcome.catch(() => undefined);
  }

  /** The version is on disk, and told of here. */
  stored(): void {
    this.#flushed.resolve();
  }

  /** How the proposal ended; undefined when none was begun. */
  outcome(): Promise<Outcome<WrittenVersion>> | undefined {
    return this.#outcome;
  }

  /** The disk failed: the proposal comes to nothing. */
  notStored(error: unknown): void {
    this.#flushed.reject(error);
  }
}
