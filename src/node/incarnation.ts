import { toBase32 } from '../../crdt/digest.ts';
import type { Actor, NodeId } from '../../crdt/ids.ts';
import type { Kv, KvTransaction } from '../ports/kv.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Random } from '../ports/random.ts';
import { decodeRow, encodeRow } from './rows.ts';
import { metaKey } from './storage-keys.ts';

const storeFormat = 3;
const incarnationBytes = 8;

interface CleanStopRow {
  readonly incarnation: string;
  /** `Kv.identity()` at the stop: a copied or restored directory has another. */
  readonly identity: string;
}

/**
 * Under which actor this node writes. An actor must never issue a dot twice, and what a node wrote last can
 * be unknown to it after a crash or a restore; so it takes a new incarnation, drawn at random and flushed
 * before the first dot, unless the last stop was clean and the data files are the very same.
 */
export class Incarnation {
  readonly #kv: Kv;
  readonly #random: Random;
  readonly #nodeId: NodeId;
  #current = '';

  constructor(dependencies: { readonly kv: Kv; readonly random: Random }, nodeId: NodeId) {
    this.#kv = dependencies.kv;
    this.#random = dependencies.random;
    this.#nodeId = nodeId;
  }

  /** Resolves once the incarnation is on disk and the clean-stop marker is gone from it. */
  async start(): Promise<'kept' | 'drawn'> {
    checkFormat(this.#kv.get(metaKey('format')));
    const marker = this.#kv.get(metaKey('clean-stop'));
    const cleanStop = marker === undefined ? undefined : decodeRow<CleanStopRow>(marker, 'clean-stop marker');
    const keeps = cleanStop !== undefined && cleanStop.identity === this.#kv.identity();
    this.#current = keeps ? cleanStop.incarnation : this.#draw();
    await this.#kv.transact((transaction) => {
      transaction.put(metaKey('format'), encodeRow({ format: storeFormat }));
      transaction.put(metaKey('incarnation'), Buffer.from(this.#current));
      transaction.delete(metaKey('clean-stop'));
    });
    return keeps ? 'kept' : 'drawn';
  }

  get actor(): Actor {
    return `${this.#nodeId}.${this.#current}` as Actor;
  }

  get name(): string {
    return this.#current;
  }

  /** Takes a new incarnation within a transaction, when the mesh knows dots of ours that we do not. */
  redraw(transaction: KvTransaction): void {
    this.#current = this.#draw();
    transaction.put(metaKey('incarnation'), Buffer.from(this.#current));
    // Should the stop's marker be there already, it names the incarnation that was just left.
    transaction.delete(metaKey('clean-stop'));
  }

  /** Written last of all: nothing may be written under this incarnation afterwards. */
  async markCleanStop(): Promise<void> {
    const row: CleanStopRow = { incarnation: this.#current, identity: this.#kv.identity() };
    await this.#kv.transact((transaction) => transaction.put(metaKey('clean-stop'), encodeRow(row)));
  }

  #draw(): string {
    return toBase32(this.#random.bytes(incarnationBytes));
  }
}

function checkFormat(row: Uint8Array | undefined): void {
  if (row === undefined) return;
  const { format } = decodeRow<{ format: number }>(row, 'format number');
  if (format !== storeFormat) {
    throw new MeshError(
      'invalid_config',
      `this data directory has format ${format}, and this program reads format ${storeFormat}: use the version that wrote it`,
    );
  }
}
