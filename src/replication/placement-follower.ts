import type { ControlState } from '../../crdt/control/state.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { OrderTaker } from './order-taker.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import { metaKey } from './storage-keys.ts';
import type { SubjectIndex } from './subject-index.ts';

/** How long a walk that failed waits until it is made again. */
const retryMs = 60_000;

export interface PlacementFollowerDependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly subjects: SubjectIndex;
  readonly placement: PlacementDirectory;
  readonly orders: Pick<OrderTaker, 'take'>;
  readonly state: () => ControlState;
  /** The state after an entry; undefined when the log here does not have it. */
  readonly stateAt: (seq: number) => ControlState | undefined;
  /** Placement is not what it was: jobs and plans made by it are to be looked at again. */
  readonly onChanged: () => void;
  readonly log: Log;
}

/**
 * Follows the control log for what it changes in placement: every version whose desired holders are others than before is
 * wanted here when this node is one of them now. How far it has come is on disk, so that a walk that a stop cut short is
 * made again.
 */
export class PlacementFollower {
  readonly #dependencies: PlacementFollowerDependencies;
  readonly #stopping = new AbortController();
  #walking: Promise<void> | undefined;
  /** The log has grown since the walk looked at it. */
  #isAhead = false;
  #cancelRetry: (() => void) | undefined;

  constructor(dependencies: PlacementFollowerDependencies) {
    this.#dependencies = dependencies;
  }

  /** Takes up what the log came to while the node was down, or a walk did not end. */
  start(): void {
    this.changed();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    this.#cancelRetry?.();
    await this.#walking;
  }

  /** The control log has grown. */
  changed(): void {
    if (this.#stopping.signal.aborted) return;
    this.#isAhead = true;
    if (this.#walking !== undefined) return;
    this.#cancelRetry?.();
    this.#walking = this.#followAll()
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#walking = undefined;
        if (this.#isAhead) this.changed();
      });
  }

  async #followAll(): Promise<void> {
    while (this.#isAhead) {
      this.#isAhead = false;
      await this.#follow();
    }
  }

  async #follow(): Promise<void> {
    const { state, stateAt, placement, onChanged } = this.#dependencies;
    for (let seq = this.#seq(); seq !== state().seq; seq = this.#seq()) {
      const after = state();
      // A directory that has never followed anything holds whatever it was given.
      const before = seq === undefined ? undefined : stateAt(seq);
      const change = before === undefined ? undefined : placement.change(before, after);
      if (change === undefined || change.isAny) {
        await this.#walk(change?.touches ?? (() => true));
        onChanged();
      }
      await this.#dependencies.kv.transact((transaction) =>
        transaction.put(metaKey('placement'), Buffer.from(String(after.seq))),
      );
    }
  }

  /** Whether this node should hold them is for the taker to say, which also finds out what is here already. */
  async #walk(touches: (ns: string, key: string) => boolean): Promise<void> {
    const { subjects, orders } = this.#dependencies;
    await subjects.catchUp(this.#stopping.signal);
    for await (const page of subjects.walk()) {
      this.#stopping.signal.throwIfAborted();
      await orders.take(
        page
          .filter(({ ns, key }) => touches(ns, key))
          .map(({ ns, key, version, manifest }) => ({ ns, key, version, manifest, holders: [] })),
      );
    }
  }

  #seq(): number | undefined {
    const row = this.#dependencies.kv.get(metaKey('placement'));
    return row === undefined ? undefined : Number(Buffer.from(row).toString());
  }

  #failed(error: unknown): void {
    this.#isAhead = false;
    if (this.#stopping.signal.aborted) return;
    this.#dependencies.log.warn('placement:not_followed', { error });
    this.#cancelRetry = this.#dependencies.clock.setTimer(retryMs, () => this.changed());
  }
}
