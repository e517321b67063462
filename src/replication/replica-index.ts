import { readUint32, readUint64, writeUint32, writeUint64 } from '../../crdt/big-endian.ts';
import { rawHash, toBase32 } from '../../crdt/digest.ts';
import { type ItemChange, itemsOf, type TreeReader } from '../../crdt/fingerprint-tree.ts';
import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import { compareSets, type FeedPosition, type FollowedSet, followFeed } from '../../protocols/wire/set-following.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { EarlyProofs } from './early-proofs.ts';
import { JournaledSet, type SizeChange, sizeOfValue } from './journaled-set.ts';
import {
  accountKey,
  accountRange,
  copyKey,
  copyRange,
  firstHash,
  foldedKey,
  journalRange,
  nodeOfKey,
  setOf,
  treeRange,
} from './storage-keys.ts';

/** Changes taken in in one transaction: this bounds how long it holds the event loop. */
const changesPerTurnMax = 256;
/** Proofs that wait to be written, and how long they may. */
const pendingProofsMax = 4_096;
const proofsEveryMs = 1_000;
/** Rows deleted in one transaction when a node is forgotten. */
const forgottenPerTurnMax = 512;
/** Holders that are looked at of one content: a cluster has no more members. */
const holdersMax = 1_024;

/** What the index knows of one node's copy of a content. */
export interface CopyRecord {
  readonly nodeId: NodeId;
  readonly sizeBytes: number;
  /** Milliseconds since the epoch when somebody last saw a proof of it, in whole seconds; undefined when nobody has. For display and order. */
  readonly provedMs: number | undefined;
  /** True when it was caught without what it says it has. */
  readonly isSuspect: boolean;
}

/** What one node says it holds. */
export interface NodeAccount {
  readonly nodeId: NodeId;
  readonly contents: number;
  readonly bytes: number;
}

interface AccountRow {
  /** How far its feed was followed; absent before the first time, and while ranges are to be compared. */
  readonly position?: FeedPosition;
  readonly contents: number;
  readonly bytes: number;
}

/** What this node holds itself: read where it is, since a second account of it would cost every write again. */
export interface OwnHoldings {
  readonly nodeId: NodeId;
  /** Bytes of a content that is here whole; undefined for any other. */
  readonly sizeOf: (manifest: BlobHash) => number | undefined;
  /** All of them as a set. */
  readonly tree: () => Promise<TreeReader>;
}

/** What checks of a copy came to; `unproved`: its holder, though online, let every one of them pass. */
export type CopyFinding = 'proved' | 'lacking' | 'wrong' | 'unproved';

/**
 * Who holds what, as every member says itself: one set a node, kept on disk and followed change by change. What a node
 * says is believed until a challenge shows otherwise: then its copy is suspect and counts for nothing, until it is
 * proved after all or listed afresh.
 */
export class ReplicaIndex {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #own: OwnHoldings | undefined;
  readonly #sets = new Map<NodeId, JournaledSet>();
  readonly #early = new EarlyProofs();
  #pending = new Map<string, { readonly manifest: BlobHash; readonly node: NodeId; readonly finding: CopyFinding }>();
  #cancelTimer: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(
    dependencies: { readonly kv: Kv; readonly clock: Clock; readonly log: Log },
    options: { readonly own?: OwnHoldings } = {},
  ) {
    this.#kv = dependencies.kv;
    this.#clock = dependencies.clock;
    this.#log = dependencies.log;
    this.#own = options.own;
  }

  /** The copies of a content that nodes say they have, this node's own among them. */
  holders(manifest: BlobHash): CopyRecord[] {
    const sizeBytes = this.#own?.sizeOf(manifest);
    const others = this.#others(manifest);
    if (this.#own === undefined || sizeBytes === undefined) return others;
    return [{ nodeId: this.#own.nodeId, sizeBytes, provedMs: undefined, isSuspect: false }, ...others];
  }

  #others(manifest: BlobHash): CopyRecord[] {
    return Array.from(this.#kv.range({ ...copyRange(manifest), limit: holdersMax }), ([key, row]) => {
      const nodeId = nodeOfKey(key);
      return { nodeId, ...this.#copyOf(nodeId, manifest, row) };
    });
  }

  /** What a row says of a node's copy, and what a check of it came to that is not written yet. */
  #copyOf(node: NodeId, manifest: BlobHash, row: Uint8Array): Copy {
    const copy = decodeCopy(row);
    const finding = this.#pending.get(`${manifest} ${node}`)?.finding;
    return finding === undefined ? copy : found(copy, finding, this.#clock.nowMs());
  }

  /** Whether a node says that it has a content, and was not caught without it. */
  holds(node: NodeId, manifest: BlobHash): boolean {
    if (node === this.#own?.nodeId) return this.#own.sizeOf(manifest) !== undefined;
    const row = this.#kv.get(copyKey(rawHash(manifest), setOf(node)));
    return row !== undefined && !this.#copyOf(node, manifest, row).isSuspect;
  }

  /** What a node says it holds, in the order of the manifests' hashes; some at a time, with a turn between. */
  async *contentsOf(node: NodeId): AsyncGenerator<{ readonly manifest: BlobHash; readonly sizeBytes: number }> {
    const tree = await (node === this.#own?.nodeId ? this.#own.tree() : this.#set(node).tree());
    let count = 0;
    for (const { key, value } of itemsOf(tree, [])) {
      const sizeBytes = sizeOfValue(value);
      if (sizeBytes !== undefined) yield { manifest: firstHash(Buffer.concat([Uint8Array.of(0), key])), sizeBytes };
      if (++count % changesPerTurnMax === 0) await this.#clock.sleep(0);
    }
  }

  /** The other nodes there is an account of. */
  accounts(): NodeAccount[] {
    return Array.from(this.#kv.range(accountRange), ([key, row]) => {
      const { contents, bytes } = decodeAccount(row);
      return { nodeId: nodeOfKey(key), contents, bytes };
    });
  }

  /**
   * Brings the account of a node up to date: by its feed, or by comparing ranges where that cannot be followed (another
   * life of the node, or too long ago) or `isDeep` asks for it. Resolves with how many changes there were. Rejects as the
   * set does, and with `protocol_violation` for what is no inventory; what was taken in until then stays.
   */
  async follow(node: NodeId, set: FollowedSet, isDeep = false): Promise<number> {
    let changed = 0;
    const take = async (changes: readonly ItemChange[]): Promise<void> => {
      changed += await this.#take(node, changes);
    };
    const from = this.#account(this.#kv, node).position;
    const { complete, position } = await followFeed(set, from, take);
    // The node was started since, if not with this disk.
    if (from !== undefined && from.feed !== position.feed) this.#forgetFindings(node);
    if (!complete || isDeep) await compareSets(set, await this.#set(node).tree(), take);
    const isSame = from?.feed === position.feed && from.change === position.change;
    if (!isSame) await this.#kv.transact((transaction) => this.#putAccount(transaction, node, { position }));
    return changed;
  }

  /** Notes what a check of a copy came to; written with others a little later, since it may be lost. */
  note(node: NodeId, manifest: BlobHash, finding: CopyFinding): void {
    this.#pending.set(`${manifest} ${node}`, { manifest, node, finding });
    if (this.#pending.size >= pendingProofsMax) this.#writeSoon(0);
    else this.#writeSoon(proofsEveryMs);
  }

  /** Forgets nodes that are members no longer, some rows at a time. */
  async keepOnly(members: ReadonlySet<NodeId>): Promise<void> {
    for (const { nodeId } of this.accounts()) if (!members.has(nodeId)) await this.#forget(nodeId);
  }

  /** Writes what was noted. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    await this.#write();
    await Promise.all(Array.from(this.#sets.values(), (set) => set.idle()));
  }

  #set(node: NodeId): JournaledSet {
    const known = this.#sets.get(node);
    if (known !== undefined) return known;
    // Nobody follows the feed of a copy.
    const dependencies = { kv: this.#kv, clock: this.#clock, log: this.#log };
    const set = new JournaledSet(dependencies, { set: setOf(node), keptMax: 0 });
    this.#sets.set(node, set);
    return set;
  }

  async #take(node: NodeId, changes: readonly ItemChange[]): Promise<number> {
    let changed = 0;
    for (let start = 0; start < changes.length; start += changesPerTurnMax) {
      const part = changes.slice(start, start + changesPerTurnMax);
      changed += await this.#kv.transact((transaction) => this.#apply(transaction, node, part));
      await this.#clock.sleep(0);
    }
    return changed;
  }

  #apply(transaction: KvTransaction, node: NodeId, changes: readonly ItemChange[]): number {
    const set = this.#set(node);
    const account = this.#account(transaction, node);
    let { contents, bytes } = account;
    let changed = 0;
    const listed: SizeChange[] = [];
    for (const { key, value } of changes) {
      const sizeBytes = value === undefined ? null : sizeOfValue(value);
      if (sizeBytes === undefined)
        throw new MeshError('protocol_violation', 'an inventory lists a content without a size');
      const row = copyKey(key, setOf(node));
      const former = transaction.get(row);
      const before = former === undefined ? undefined : decodeCopy(former);
      const early = this.#early.take(node, key, this.#clock.monotonicMs());
      // What was noted of the copy that goes says nothing of one that is listed later.
      if (sizeBytes === null) this.#pending.delete(`${toBase32(key)} ${node}`);
      if (sizeBytes === null ? before === undefined : before?.sizeBytes === sizeBytes && !before.isSuspect) continue;
      changed += 1;
      contents += (sizeBytes === null ? 0 : 1) - (before === undefined ? 0 : 1);
      bytes += (sizeBytes ?? 0) - (before?.sizeBytes ?? 0);
      if (sizeBytes === null) transaction.delete(row);
      else {
        // Listed afresh, it is another copy, and nobody has proved that.
        const provedMs = before !== undefined || early === undefined ? undefined : this.#clock.nowMs() - early;
        transaction.put(row, encodeCopy({ sizeBytes, provedMs, isSuspect: false }));
      }
      if (before?.sizeBytes !== sizeBytes) listed.push({ key, sizeBytes });
    }
    set.appendAll(transaction, listed);
    if (changed > 0) this.#putAccount(transaction, node, { contents, bytes });
    return changed;
  }

  #account(reader: KvReader, node: NodeId): AccountRow {
    const row = reader.get(accountKey(node));
    return row === undefined ? { contents: 0, bytes: 0 } : decodeAccount(row);
  }

  #putAccount(transaction: KvTransaction, node: NodeId, change: Partial<AccountRow>): void {
    const row: AccountRow = { ...this.#account(transaction, node), ...change };
    transaction.put(accountKey(node), Buffer.from(JSON.stringify(row)));
  }

  #writeSoon(delayMs: number): void {
    if (this.#stopped || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#clock.setTimer(delayMs, () => {
      this.#cancelTimer = undefined;
      this.#write().catch((error: unknown) => this.#log.warn('replicas:not_written', { error }));
    });
  }

  #write(): Promise<void> {
    const findings = [...this.#pending.values()];
    this.#writing = this.#writing.then(async () => {
      for (let start = 0; start < findings.length; start += changesPerTurnMax) {
        const part = findings.slice(start, start + changesPerTurnMax);
        await this.#kv.transact((transaction) => {
          for (const each of part) {
            if (this.#pending.get(`${each.manifest} ${each.node}`) === each) this.#putFinding(transaction, each);
          }
        });
        for (const each of part) {
          const name = `${each.manifest} ${each.node}`;
          if (this.#pending.get(name) === each) this.#pending.delete(name);
        }
      }
    });
    const writing = this.#writing;
    this.#writing = writing.catch(() => undefined);
    return writing;
  }

  #putFinding(
    transaction: KvTransaction,
    { manifest, node, finding }: { readonly manifest: BlobHash; readonly node: NodeId; readonly finding: CopyFinding },
  ): void {
    const hash = rawHash(manifest);
    const key = copyKey(hash, setOf(node));
    const row = transaction.get(key);
    // It is in the index once the node itself has listed it.
    if (row !== undefined) transaction.put(key, encodeCopy(found(decodeCopy(row), finding, this.#clock.nowMs())));
    else if (finding === 'proved') this.#early.note(node, hash, this.#clock.monotonicMs());
    else this.#early.take(node, hash, this.#clock.monotonicMs());
  }

  /** What was found of its copies and is not in their rows. */
  #forgetFindings(node: NodeId): void {
    this.#early.forget(node);
    for (const [name, finding] of this.#pending) if (finding.node === node) this.#pending.delete(name);
  }

  async #forget(node: NodeId): Promise<void> {
    const set = this.#set(node);
    this.#forgetFindings(node);
    await set.tree();
    for (let isDone = false; !isDone; ) {
      isDone = await this.#kv.transact((transaction) => {
        const keys: Uint8Array[] = [];
        // A leaf of the tree lists the copies, and goes with them.
        for (const [key, row] of transaction.range({ ...treeRange(setOf(node)), limit: forgottenPerTurnMax / 32 })) {
          keys.push(key);
          const leaf = { row: (prefix: readonly number[]) => (prefix.length === 0 ? row : undefined) };
          for (const item of itemsOf(leaf, [])) keys.push(copyKey(item.key, setOf(node)));
        }
        for (const key of keys) transaction.delete(key);
        if (keys.length > 0) return false;
        for (const [key] of [...transaction.range(journalRange(setOf(node), 0))]) transaction.delete(key);
        transaction.delete(foldedKey(setOf(node)));
        transaction.delete(accountKey(node));
        return true;
      });
      await this.#clock.sleep(0);
    }
    this.#sets.delete(node);
    this.#log.info('replicas:forgotten', { node });
  }
}

type Copy = Omit<CopyRecord, 'nodeId'>;

const copyBytes = 13;
const suspectMark = 1;

function found(copy: Copy, finding: CopyFinding, nowMs: number): Copy {
  return finding === 'proved'
    ? { ...copy, provedMs: nowMs, isSuspect: false }
    : { ...copy, provedMs: undefined, isSuspect: true };
}

/** The size (u64), when it was last proved (u32, seconds since the epoch, 0 for never), and a mark. */
function encodeCopy({ sizeBytes, provedMs, isSuspect }: Copy): Uint8Array {
  const row = new Uint8Array(copyBytes);
  writeUint64(row, sizeBytes, 0);
  writeUint32(row, Math.max(0, Math.floor((provedMs ?? 0) / 1_000)), 8);
  row[12] = isSuspect ? suspectMark : 0;
  return row;
}

function decodeCopy(row: Uint8Array): Copy {
  const provedSeconds = readUint32(row, 8);
  return {
    sizeBytes: readUint64(row, 0),
    provedMs: provedSeconds === 0 ? undefined : provedSeconds * 1_000,
    isSuspect: row[12] === suspectMark,
  };
}

function decodeAccount(row: Uint8Array): AccountRow {
  return JSON.parse(Buffer.from(row).toString()) as AccountRow;
}
