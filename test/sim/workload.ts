import { blake3, toHex } from '../../crdt/digest.ts';
import type { CommitMode, Outcome, RefusalCode, WrittenVersion } from '../../src/node/api.ts';
import type { Node } from '../../src/node/mesh-node.ts';
import { MeshError, type MeshErrorCode } from '../../src/ports/mesh-error.ts';
import type { Draw } from './draw.ts';
import { namespace, type Simulation } from './simulation.ts';

type OperationName = 'put' | 'branch' | 'mergeByHand' | 'pick' | 'remove' | 'read' | 'readOld' | 'list';

export interface WorkloadOptions {
  readonly keys: number;
  readonly authors: number;
  readonly weights: Readonly<Record<OperationName, number>>;
  /** Shares of bodies that are a file of their own, and that are several chunks long. */
  readonly filesShare: number;
  readonly largeShare: number;
  /** The share of writes that wait until they are confirmed; none when absent. */
  readonly quorumShare?: number;
}

export const usualWorkload: WorkloadOptions = {
  keys: 12,
  authors: 3,
  weights: { put: 40, branch: 12, mergeByHand: 8, pick: 10, remove: 8, read: 12, readOld: 6, list: 4 },
  filesShare: 0.1,
  largeShare: 0.02,
};

/** Answers a client must be prepared for while there are faults. */
const expectedRefusals: ReadonlySet<RefusalCode> = new Set([
  'content_unavailable',
  'deleted',
  'disk_full',
  // These two only where it waits until a write is confirmed: `acknowledge` sees to that.
  'not_a_descendant',
  'not_found',
  'quorum_unavailable',
  'unknown_parent',
  'version_not_found',
]);
const expectedErrors: ReadonlySet<MeshErrorCode> = new Set([
  'content_unavailable',
  'corrupt',
  'disk_full',
  'io_error',
  'shutting_down',
  'timeout',
]);

/** Clients of a mesh: a draw an operation, each at a node that is up, none waiting for another. */
export class Workload {
  readonly #sim: Simulation;
  readonly #draw: Draw;
  readonly #options: WorkloadOptions;
  started = 0;
  acknowledged = 0;
  refused = 0;

  constructor(sim: Simulation, draw: Draw, options: WorkloadOptions = usualWorkload) {
    this.#sim = sim;
    this.#draw = draw;
    this.#options = options;
  }

  /** Starts one operation somewhere. */
  step(): void {
    const draw = this.#draw;
    const kind = draw.weighted(this.#options.weights);
    const key = `key-${draw.integer(1, this.#options.keys)}`;
    const author = `author-${draw.integer(1, this.#options.authors)}`;
    this.started += 1;
    const names = this.#sim.up();
    if (names.length === 0) return;
    const name = draw.pick(names);
    const operation = `${kind} ${key} at ${name}`;
    // The node may answer at once, later, or (when it dies) never.
    this.#perform(kind, name, key, author).then(
      (answer) => this.#sim.trace.note(`${operation}: ${answer}`),
      (error: unknown) => this.#failed(operation, error),
    );
  }

  async #perform(kind: OperationName, name: string, key: string, author: string): Promise<string> {
    const draw = this.#draw;
    const body = this.#body();
    const heads = this.#sim.headsOf(name, key);
    const options = { author, commit: this.#commitMode() };
    const { hurried } = this.#sim.ledger;
    const isHurried = options.commit === 'quorum';
    if (isHurried) hurried.add(b3Of(body));
    switch (kind) {
      case 'put':
        return this.#wrote(await this.#sim.put(name, key, body, undefined, options), body);
      case 'branch': {
        const parents = this.#someVersions(name, key);
        return this.#wrote(await this.#sim.put(name, key, body, parents, options), body, parents);
      }
      case 'mergeByHand': {
        const parents = heads.length === 0 ? undefined : heads;
        return this.#wrote(await this.#sim.put(name, key, body, parents, options), body, parents);
      }
      case 'pick': {
        const node = this.#sim.node(name);
        if (heads.length < 2) return this.#wrote(await this.#sim.put(name, key, body, undefined, options), body);
        const picked = draw.pick(heads);
        const content = this.#sim.library.get(picked)?.version.record.content;
        if (isHurried && content) hurried.add(content.b3);
        const input = { ns: namespace, key, parents: heads, pick: picked, ...options };
        return this.#wrote(await this.#sim.acknowledge(name, node.merge(input), options), undefined, heads);
      }
      case 'remove': {
        const parents = draw.chance(0.3) ? this.#someVersions(name, key) : undefined;
        const target = { ns: namespace, key, ...options, ...(parents === undefined ? {} : { parents }) };
        const answer = this.#sim.acknowledge(name, this.#sim.node(name).delete(target), options);
        return this.#wrote(await answer, undefined, parents);
      }
      case 'read':
        return this.#read(name, key);
      case 'readOld':
        return this.#read(name, key, this.#someVersions(name, key)?.[0]);
      case 'list':
        return this.#list(name);
    }
  }

  #commitMode(): CommitMode {
    const { quorumShare = 0 } = this.#options;
    return quorumShare > 0 && this.#draw.chance(quorumShare) ? 'quorum' : 'local';
  }

  #wrote(outcome: Outcome<WrittenVersion>, body?: readonly Uint8Array[], named?: readonly string[]): string {
    if (!outcome.ok) return this.#refused(outcome.error.code);
    this.acknowledged += 1;
    const { version, parents, kind, heads, conflict, b3, key } = outcome.value;
    const faults = [
      heads.includes(version) || 'the new version is not among the heads',
      conflict === heads.length > 1 || 'conflict and heads disagree',
      (named === undefined ? parents.length <= 1 : parents.every((parent) => named.includes(parent))) ||
        'it supersedes what was not named',
      body === undefined || b3 === b3Of(body) || 'b3 is not that of the body',
      kind === 'delete' || kind === (parents.length > 1 ? 'merge' : 'put') || `a ${kind} of ${parents.length} parents`,
      !parents.some((parent) => heads.includes(parent)) || 'a superseded version is still a head',
    ].filter((fault) => fault !== true);
    if (faults.length > 0)
      this.#sim.violate('workload', `the answer to a write of ${key} is wrong: ${faults.join('; ')}`);
    return `${kind} ${version.slice(0, 8)} of ${parents.length}, ${heads.length} heads`;
  }

  async #read(name: string, key: string, version?: string): Promise<string> {
    const target = { ns: namespace, key, ...(version === undefined ? {} : { version }) };
    const node = this.#sim.node(name);
    const bringing = node.bring(target);
    if (bringing !== undefined) await bringing;
    if (this.#sim.get(name).process?.node !== node) return 'it is not running any more';
    const found = node.read(target);
    if (!found.ok) return this.#refused(found.error.code);
    const opened = await this.#sim.readBytes(name, key, found.value.version);
    if (!opened.ok) return this.#refused(opened.error.code);
    if (b3Of([opened.value]) !== found.value.b3 || opened.value.length !== found.value.size) {
      this.#sim.violate('workload', `${name} served other bytes of ${key} than version ${found.value.version} names`);
    }
    return `${opened.value.length} bytes`;
  }

  async #list(name: string): Promise<string> {
    const node = this.#sim.node(name);
    if (this.#sim.isPlaced) return this.#listWhole(node);
    const listing = node.list({ ns: namespace });
    const conflicts = node.conflicts({ ns: namespace });
    if (!listing.ok || !conflicts.ok) return this.#refused('invalid_request');
    const listed = listing.value.objects.filter((object) => object.heads > 1).map((object) => object.key);
    const inConflict = conflicts.value.conflicts.map((conflict) => conflict.key);
    if (listed.some((key) => !inConflict.includes(key))) {
      this.#sim.violate('workload', `${name} lists an object with several heads that is no conflict`);
    }
    return `${listing.value.objects.length} objects, ${inConflict.length} conflicts`;
  }

  /** What several nodes say one after the other need not be of one moment. */
  async #listWhole(node: Node): Promise<string> {
    const listing = await node.wholeList({ ns: namespace, limit: 5 });
    if (!listing.ok) return this.#refused(listing.error.code);
    const keys = listing.value.objects.map(({ key }) => key);
    if (keys.join() !== keys.toSorted().join() || new Set(keys).size !== keys.length) {
      this.#sim.violate('workload', `a listing is out of order: ${keys}`);
    }
    return `${keys.length} objects`;
  }

  /** One or a few versions of an object as a client may remember them: heads or old ones. */
  #someVersions(name: string, key: string): string[] | undefined {
    const graph = this.#sim.node(name).graph({ ns: namespace, key });
    if (!graph.ok) return undefined;
    const ids = graph.value.versions.map((version) => version.version);
    return Array.from({ length: this.#draw.integer(1, 3) }, () => this.#draw.pick(ids));
  }

  #body(): readonly Uint8Array[] {
    const { filesShare, largeShare } = this.#options;
    const draw = this.#draw;
    if (draw.chance(largeShare)) return [this.#bytes(150_000), this.#bytes(draw.integer(1, 500_000))];
    if (draw.chance(filesShare)) return [this.#bytes(draw.integer(16_385, 60_000))];
    // Now and then the very same content again, or none at all.
    if (draw.chance(0.1)) return [Buffer.from('the same again')];
    return [this.#bytes(draw.integer(0, 300))];
  }

  /** Bytes that differ from all others by a few, and cost next to nothing to draw. */
  #bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const seed = this.#draw.random.bytes(Math.min(length, 16));
    bytes.set(seed);
    let state = new DataView(this.#draw.random.bytes(4).buffer).getUint32(0) | 1;
    for (let index = seed.length; index < length; index += 7) {
      state = Math.imul(state, 1_664_525) + 1_013_904_223;
      bytes[index] = state >>> 24;
    }
    return bytes;
  }

  #refused(code: RefusalCode): string {
    this.refused += 1;
    const isElsewhere = this.#sim.isPlaced && code === 'metadata_unavailable';
    if (!isElsewhere && !expectedRefusals.has(code)) this.#sim.violate('workload', `a client was refused with ${code}`);
    return code;
  }

  #failed(operation: string, error: unknown): void {
    this.refused += 1;
    if (error instanceof MeshError && expectedErrors.has(error.code)) {
      this.#sim.trace.note(`${operation}: ${error.code}`);
      return;
    }
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#sim.violate('workload', `${operation} threw ${reason}`);
  }
}

/** BLAKE3 of a whole body, as records carry it. */
export function b3Of(body: readonly Uint8Array[]): string {
  return toHex(blake3(Buffer.concat(body)));
}
