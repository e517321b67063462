import type { Clock } from '../ports/clock.ts';
import type { Appended } from './object-store.ts';
import type { SyncView } from './sync-view.ts';

/** How long a record that went to every listener with the votes on it is not told of: by then its certificate tells of it. */
const withheldMs = 500;
/** Records withheld at once, at some 2 KiB each; those beyond are told of as any other. */
const withheldMax = 4_096;

interface Dependencies {
  readonly clock: Clock;
  readonly view: Pick<SyncView, 'confirmedOf'>;
  /** Tells the mesh of a version. */
  readonly tell: (appended: Appended) => void;
}

/**
 * Versions that are not told of for a while, since the votes on them carry them to everyone: only those that are not
 * confirmed by then are told of. Of a confirmed one its certificate tells, and who lacks it asks.
 */
export class WithheldRecords {
  readonly #dependencies: Dependencies;
  /** In the order of their time. */
  readonly #waiting: { readonly appended: Appended; readonly dueMs: number }[] = [];
  #cancel: () => void = () => undefined;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** False when there is no room for it. */
  add(appended: Appended): boolean {
    if (this.#waiting.length >= withheldMax) return false;
    this.#waiting.push({ appended, dueMs: this.#dependencies.clock.monotonicMs() + withheldMs });
    if (this.#waiting.length === 1) this.#wait(withheldMs);
    return true;
  }

  /** Tells of all of them now. */
  flush(): void {
    this.#cancel();
    for (const { appended } of this.#waiting.splice(0)) this.#dependencies.tell(appended);
  }

  #wait(delayMs: number): void {
    this.#cancel = this.#dependencies.clock.setTimer(delayMs, () => this.#tellDue());
  }

  #tellDue(): void {
    const { clock, view, tell } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    const later = this.#waiting.findIndex(({ dueMs }) => dueMs > nowMs);
    for (const { appended } of this.#waiting.splice(0, later < 0 ? this.#waiting.length : later)) {
      if (view.confirmedOf(appended.doc)?.head !== appended.version.id) tell(appended);
    }
    const [next] = this.#waiting;
    if (next !== undefined) this.#wait(next.dueMs - nowMs);
  }
}
