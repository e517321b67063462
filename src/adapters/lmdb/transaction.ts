import assert from 'node:assert/strict';
import { type KvKey, type KvTransaction, kvKeyBytesMax } from '../../ports/kv.ts';
import type { WriteOverlay } from './write-overlay.ts';

/** Runs one change on the overlay; when it throws, its writes are taken off again. */
export function runChange<T>(overlay: WriteOverlay, change: (transaction: KvTransaction) => T): T {
  const mark = overlay.mark();
  let open = true;
  const use = (): WriteOverlay => {
    assert(open, 'a transaction was used after it ended');
    return overlay;
  };
  try {
    const result = change({
      get(key) {
        checkKey(key);
        return use().get(key);
      },
      range: (range) => use().range(range),
      put(key, value) {
        checkKey(key);
        use().set(key, value);
      },
      delete(key) {
        checkKey(key);
        use().set(key, null);
      },
    });
    assert(!(result instanceof Promise), 'a transaction is synchronous: it may not return a promise');
    return result;
  } catch (error) {
    overlay.rollback(mark);
    throw error;
  } finally {
    open = false;
  }
}

export function checkKey(key: KvKey): void {
  assert(key.length >= 1 && key.length <= kvKeyBytesMax, `a key has 1 to ${kvKeyBytesMax} bytes, not ${key.length}`);
}
