import assert from 'node:assert/strict';
import { checkKey } from '../../ports/key-text.ts';
import type { KvKey, KvRange, KvTransaction } from '../../ports/kv.ts';
import type { WriteOverlay } from './write-overlay.ts';

/** What a change is given: the overlay, as long as the change runs. */
class OpenTransaction implements KvTransaction {
  #overlay: WriteOverlay | undefined;

  constructor(overlay: WriteOverlay) {
    this.#overlay = overlay;
  }

  get(key: KvKey): Uint8Array | undefined {
    checkKey(key);
    return this.#use().get(key);
  }

  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]> {
    return this.#use().range(range);
  }

  put(key: KvKey, value: Uint8Array): void {
    checkKey(key);
    this.#use().set(key, value);
  }

  delete(key: KvKey): void {
    checkKey(key);
    this.#use().set(key, null);
  }

  end(): void {
    this.#overlay = undefined;
  }

  #use(): WriteOverlay {
    assert(this.#overlay !== undefined, 'a transaction was used after it ended');
    return this.#overlay;
  }
}

/** Runs one change on the overlay; when it throws, its writes are taken off again. */
export function runChange<T>(overlay: WriteOverlay, change: (transaction: KvTransaction) => T): T {
  const transaction = new OpenTransaction(overlay);
  overlay.begin();
  try {
    const result = change(transaction);
    assert(!(result instanceof Promise), 'a transaction is synchronous: it may not return a promise');
    return result;
  } catch (error) {
    overlay.rollback();
    throw error;
  } finally {
    transaction.end();
  }
}
