import type { BlobHash } from '../../../crdt/ids.ts';
import type { KvReader, KvTransaction } from '../../ports/kv.ts';
import { hashedRange, mendingKey } from './content-keys.ts';

/** What a content that was whole here lacks: a blob that had rotted, or one that was not there. */
export type Damage = 'damaged' | 'incomplete';

/** How many contents that were whole here are so no more, by what they lack. */
export type MendingCounts = Readonly<Record<Damage, number>>;

/** Contents that are counted: past these it matters little how many they are. */
const countedMax = 10_000;
const marks: Readonly<Record<Damage, number>> = { damaged: 1, incomplete: 2 };

/**
 * The contents that were whole here and lack something since, a row each, whoever found that: a read, a challenge, a peer's
 * want or the scrub. A row leaves with what makes the content whole again, or not wanted any more.
 */
export class Mending {
  readonly #onChanged: () => void;
  /** False while there is no row for sure: what is written and pulled need not look then. */
  #mayHaveRows: boolean | undefined;

  /** `onChanged` is called within the transaction that changes a row. */
  constructor(onChanged: () => void) {
    this.#onChanged = onChanged;
  }

  /** What has rotted stays so called, whatever else is found to lack. */
  add(transaction: KvTransaction, manifest: BlobHash, damage: Damage): void {
    this.#mayHaveRows = true;
    const known = transaction.get(mendingKey(manifest))?.[0];
    if (known === marks.damaged || known === marks[damage]) return;
    transaction.put(mendingKey(manifest), Uint8Array.of(marks[damage]));
    this.#onChanged();
  }

  has(reader: KvReader, manifest: BlobHash): boolean {
    return this.#hasRows(reader) && reader.get(mendingKey(manifest)) !== undefined;
  }

  remove(transaction: KvTransaction, manifest: BlobHash): void {
    if (!this.has(transaction, manifest)) return;
    transaction.delete(mendingKey(manifest));
    this.#onChanged();
  }

  counts(reader: KvReader): MendingCounts {
    const counts = { damaged: 0, incomplete: 0 };
    for (const [, row] of reader.range({ ...hashedRange('mending'), limit: countedMax })) {
      counts[row[0] === marks.incomplete ? 'incomplete' : 'damaged'] += 1;
    }
    return counts;
  }

  #hasRows(reader: KvReader): boolean {
    if (this.#mayHaveRows !== undefined) return this.#mayHaveRows;
    let hasRows = false;
    for (const _ of reader.range({ ...hashedRange('mending'), limit: 1 })) hasRows = true;
    this.#mayHaveRows = hasRows;
    return hasRows;
  }
}
