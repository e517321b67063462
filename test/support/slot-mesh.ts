import type { Role } from '../../crdt/control/member.ts';
import { toBase32 } from '../../crdt/digest.ts';
import type { DocId } from '../../crdt/ids.ts';
import { decodeRow, type ObjectRow } from '../../src/node/rows.ts';
import type { SlotSettings } from '../../src/node/slots/slots.ts';
import { objectKey } from '../../src/node/storage-keys.ts';
import { rowsOf } from '../sim/holdings.ts';
import type { Machine } from '../sim/machine.ts';
import { namespace, Simulation, unwrap } from '../sim/simulation.ts';

const objectRoom = objectKey('a'.repeat(52) as DocId)[0] as number;

function objectAt({ kv }: Machine, doc: DocId): ObjectRow | undefined {
  const row = kv.get(objectKey(doc));
  return row === undefined ? undefined : decodeRow<ObjectRow>(row, 'object');
}

function headsAt(machine: Machine, doc: DocId): string | undefined {
  return objectAt(machine, doc)
    ?.heads.map(({ id }) => id)
    .join();
}

/** A mesh whose slots are placed, in the words its tests use. No checker looks on: the tests say what must come of it. */
export class SlotMesh extends Simulation {
  readonly names: readonly string[];
  readonly settings: SlotSettings;

  constructor(names: readonly string[], coordinators: readonly string[], settings: SlotSettings, seed = 'slots') {
    super({ seed, nodes: names, coordinators, checkers: [], slotPlacement: settings, syncIntervalMs: 5_000 });
    this.names = names;
    this.settings = settings;
  }

  /** Nodes of which the first so many are coordinators, all started, and their slots in order. */
  static async start(
    count: number,
    options: { readonly coordinators?: number; readonly seed?: string } & Partial<SlotSettings> = {},
  ): Promise<SlotMesh> {
    const { coordinators = 1, seed, threshold = 0, replicas = 2, ...rest } = options;
    const names = Array.from({ length: count }, (_, at) => `n${at}`);
    const mesh = new SlotMesh(names, names.slice(0, coordinators), { threshold, replicas, ...rest }, seed);
    await mesh.startAll();
    await mesh.settled();
    return mesh;
  }

  /** Lets time pass until every node has the slots it is to have and owes nothing, and the holders of each are in step. */
  settled(): Promise<void> {
    return this.until(() => this.placements.unsettled() === undefined && this.#areInStep());
  }

  #areInStep(): boolean {
    const docs = new Set<DocId>();
    for (const { kv } of this.machines.values()) {
      for (const [key] of rowsOf(kv, objectRoom)) docs.add(toBase32(key.subarray(1)) as DocId);
    }
    return [...docs].every((doc) => new Set(this.holdersOf(doc).map((machine) => headsAt(machine, doc))).size === 1);
  }

  /** The names of the nodes that are to hold a key, and of those that are not. */
  sidesOf(key: string): { readonly holders: string[]; readonly others: string[] } {
    const holders = this.holdersOf(this.documentOf(key)).map(({ name }) => name);
    return { holders, others: this.names.filter((name) => !holders.includes(name)) };
  }

  /** A key that these nodes are not to hold. */
  keyElsewhere(...names: readonly string[]): string {
    for (let at = 0; ; at += 1) {
      const key = `key-${at}`;
      if (names.every((name) => this.sidesOf(key).others.includes(name))) return key;
    }
  }

  /** True when a version is on the disk of a node. */
  has(name: string, key: string): boolean {
    return this.versionsAt(name, this.documentOf(key)) > 0;
  }

  /** How many versions of a document are on the disk of a node. */
  versionsAt(name: string, doc: DocId): number {
    return objectAt(this.get(name), doc)?.versions ?? 0;
  }

  /** Reads a key as a client of a node does. */
  async readAt(name: string, key: string): Promise<string> {
    const node = this.node(name);
    const bringing = node.bring({ ns: namespace, key });
    if (bringing !== undefined) await this.run(bringing);
    const found = node.read({ ns: namespace, key });
    if (!found.ok) return found.error.code;
    return this.read(name, key);
  }

  /** All keys that a node lists, page by page. */
  async keysAt(name: string, limit = 1_000): Promise<string[] | string> {
    const keys: string[] = [];
    for (let after: string | undefined; ; ) {
      const asked = { ns: namespace, limit, ...(after === undefined ? {} : { after }) };
      const page = await this.run(this.node(name).wholeList(asked));
      if (!page.ok) return page.error.code;
      keys.push(...page.value.objects.map(({ key }) => key));
      if (page.value.next === null) return keys;
      after = page.value.next;
    }
  }

  /** Gives a member other roles, through a coordinator. */
  async giveRoles(name: string, roles: readonly Role[], through = 'n0'): Promise<void> {
    const operation = { type: 'roles', nodeId: this.member(name).nodeId, roles } as const;
    unwrap(await this.run(this.node(through).cluster.change({ operation, actor: 'admin' })));
  }
}
