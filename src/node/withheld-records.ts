import type { VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Appended } from './object-store.ts';

/** How long a record that is proposed is not told of: by then it has gone to every listener with its certificate. */
const withheldMs = 500;
/** Records withheld at once, at some 2 KiB each; those beyond are told of as any other. */
const withheldMax = 4_096;

interface Dependencies {
  readonly clock: Clock;
  /** Tells the mesh of a version. */
  readonly tell: (appended: Appended) => void;
}

/**
 * Versions that are not told of for a while, since who proposes them tells of them with their certificates. They are told of when
 * that was not heard by then: they are not confirmed, or their proposer was lost.
 */
export class WithheldRecords {
  readonly #dependencies: Dependencies;
  /** In the order of their time. */
  readonly #waiting = new Map<VersionId, { readonly appended: Appended; readonly dueMs: number }>();
  #cancel: () => void = () => undefined;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** False when there is no room for it. */
  add(appended: Appended): boolean {
    if (this.#waiting.size >= withheldMax) return false;
    this.#waiting.set(appended.version.id, { appended, dueMs: this.#dependencies.clock.monotonicMs() + withheldMs });
    if (this.#waiting.size === 1) this.#wait(withheldMs);
    return true;
  }

  /** The certificate of a version, and what it is about, were told of, here or by another: all have heard of both. */
  told(version: VersionId): void {
    this.#waiting.delete(version);
  }

  /** Tells of all of them now. */
  flush(): void {
    this.#cancel();
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { appended } of all) this.#dependencies.tell(appended);
  }

  #wait(delayMs: number): void {
    this.#cancel();
    this.#cancel = this.#dependencies.clock.setTimer(delayMs, () => this.#tellDue());
  }

  #tellDue(): void {
    const { clock, tell } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    for (const [version, { appended, dueMs }] of this.#waiting) {
      if (dueMs > nowMs) {
        this.#wait(dueMs - nowMs);
        return;
      }
      this.#waiting.delete(version);
      tell(appended);
    }
  }
}
