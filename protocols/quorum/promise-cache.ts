import type { RegisterValue } from '../../crdt/certificate.ts';
import type { Ballot } from '../../crdt/quorum/ballot.ts';

/** A majority's promise for a ballot that no value was proposed in yet, and the value that majority had accepted. */
export interface CachedPromise {
  readonly epoch: number;
  readonly ballot: Ballot;
  readonly value: RegisterValue;
}

/**
 * The promises by which a next round needs no prepare; the one that was not used for the longest gives way. What gives
 * way, or is lost with the process, costs one round trip.
 */
export class PromiseCache {
  readonly #registersMax: number;
  readonly #promises = new Map<string, CachedPromise>();

  constructor(registersMax: number) {
    this.#registersMax = registersMax;
  }

  /** Hands a promise out once: a ballot must never carry two values. One of another epoch was made by other voters, and is dropped. */
  take(register: string, epoch: number): CachedPromise | undefined {
    const promise = this.#promises.get(register);
    this.#promises.delete(register);
    return promise?.epoch === epoch ? promise : undefined;
  }

  /** True when `take` would give one. */
  has(register: string, epoch: number): boolean {
    return this.#promises.get(register)?.epoch === epoch;
  }

  put(register: string, promise: CachedPromise): void {
    this.#promises.delete(register);
    this.#promises.set(register, promise);
    if (this.#promises.size <= this.#registersMax) return;
    const oldest = this.#promises.keys().next();
    if (!oldest.done) this.#promises.delete(oldest.value);
  }
}
