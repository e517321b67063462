import { assembleCertificate, type Certificate, controlLogRegister, signStatement } from '../../crdt/certificate.ts';
import {
  type CertifiedEntry,
  type Checkpoint,
  encodeCheckpointLine,
  encodeLogLine,
} from '../../crdt/control/checkpoint.ts';
import type { EntryText } from '../../crdt/control/entry.ts';
import type { ControlMember, Role } from '../../crdt/control/member.ts';
import type { ControlOperation } from '../../crdt/control/operations.ts';
import { type ControlState, coordinatorsOf, foundingState } from '../../crdt/control/state.ts';
import { draftEntry, foldEntry, registerValueOf } from '../../crdt/control-log.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import { decodeGenesis, encodeGenesis, type Genesis } from '../../crdt/genesis.ts';
import type { ClusterId } from '../../crdt/ids.ts';
import { appendLeaf, emptyPeaks, leafHash, rootOf } from '../../crdt/merkle-log.ts';
import { peerIdOf } from '../../crdt/signature.ts';
import { accepted, actorOf, type TestNode, testNode } from './versions.ts';

/** The member that a made-up node would be. */
export function memberOf(
  name: string,
  roles: readonly Role[] = ['storage'],
  changes: Partial<ControlMember> = {},
): ControlMember {
  const { nodeId, signer } = testNode(name);
  return { name, nodeId, peerId: peerIdOf(signer.publicKey), addresses: [], roles, labels: {}, ...changes };
}

/** An operation id that follows from a text. */
export function operationId(text: string): string {
  return toBase32(blake3(Buffer.from(`operation ${text}`)).subarray(0, 16));
}

/** Every operation but the id, which follows from the entry's place and the operation's. */
type Asked = ControlOperation extends infer Each ? (Each extends ControlOperation ? Omit<Each, 'id'> : never) : never;

/** A control log whose every coordinator is at hand to sign. */
export class TestLog {
  readonly genesis: Genesis;
  readonly genesisText: string;
  readonly cluster: ClusterId;
  state: ControlState;
  readonly entries: CertifiedEntry[] = [];
  readonly #nodes = new Map<string, TestNode>();

  constructor(
    members: readonly ControlMember[] = ['north', 'east', 'south'].map((name) =>
      memberOf(name, ['coordinator', 'storage']),
    ),
  ) {
    this.genesis = { v: 1, cluster: 'test', seed: 'a'.repeat(26), members };
    this.genesisText = encodeGenesis(this.genesis);
    this.cluster = accepted(decodeGenesis(this.genesisText)).id;
    this.state = foundingState(this.genesis, this.cluster);
    for (const { name } of members) this.know(name);
  }

  /** Lets a node of this name sign, once it is a coordinator. */
  know(name: string): void {
    const node = testNode(name);
    this.#nodes.set(node.nodeId, node);
  }

  draft(operations: readonly Asked[], reason = ''): EntryText {
    const withIds = operations.map(
      (operation, at) =>
        ({ ...operation, id: operationId(`${this.state.seq + 1}/${at} ${reason}`) }) as ControlOperation,
    );
    return accepted(
      draftEntry(this.state, { operations: withIds, actor: 'ada', reason, time: 1_700_000_000_000 + this.state.seq }),
    );
  }

  /** Drafts an entry, has it certified and appends it. */
  add(...operations: readonly Asked[]): CertifiedEntry {
    return this.append(this.certify(this.draft(operations)));
  }

  append(certified: CertifiedEntry): CertifiedEntry {
    this.state = accepted(foldEntry(this.state, certified.entry));
    this.entries.push(certified);
    return certified;
  }

  /** A certificate by the majority that comes first, or by so many coordinators. */
  certify(entry: EntryText, signers?: number): CertifiedEntry {
    const coordinators = coordinatorsOf(this.state);
    const voters = coordinators.slice(0, signers ?? Math.floor(coordinators.length / 2) + 1);
    const proposer = actorOf(this.#nodeOf(voters[0]?.nodeId ?? ''));
    const statement = {
      v: 1,
      register: controlLogRegister,
      epoch: this.state.epoch,
      ...registerValueOf(this.state, entry),
      ballot: { counter: 1, proposer },
    } as const;
    const certificate: Certificate = assembleCertificate(
      statement,
      voters.map(({ nodeId }) => [nodeId, signStatement(statement, this.#nodeOf(nodeId).signer, this.cluster)]),
    );
    return { entry, certificate };
  }

  checkpoint(): Checkpoint {
    let tree = emptyPeaks;
    for (const text of [this.genesisText, ...this.entries.map(({ entry }) => entry.text)]) {
      tree = appendLeaf(tree, leafHash(Buffer.from(text))).peaks;
    }
    const certificate = this.entries.at(-1)?.certificate ?? null;
    return { cluster: this.cluster, size: tree.size, root: toBase32(rootOf(tree)), certificate };
  }

  lines(): string[] {
    return [this.genesisText, ...this.entries.map(encodeLogLine), encodeCheckpointLine(this.checkpoint())];
  }

  #nodeOf(nodeId: string): TestNode {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) throw new Error(`${nodeId} was not made known to the log`);
    return node;
  }
}

/** A log of the operations that came after those of `sampleLog`: where members are, how much they hold, and who drains. */
export function placementLog(): TestLog {
  const log = new TestLog();
  const nodeId = (name: string) => testNode(name).nodeId;
  log.add({
    type: 'addresses',
    nodeId: nodeId('east'),
    addresses: ['/dns4/east.example/tcp/7401', '/ip4/10.0.0.2/tcp/1'],
  });
  log.add(
    { type: 'capacity', nodeId: nodeId('north'), capacity: 23 },
    { type: 'capacity', nodeId: nodeId('east'), capacity: 1 },
    { type: 'capacity', nodeId: nodeId('south'), capacity: 64 },
  );
  log.add({ type: 'drain', nodeId: nodeId('south'), draining: true });
  log.add({ type: 'addresses', nodeId: nodeId('east'), addresses: [] });
  return log;
}

/** A log in which every kind of operation happens once, and the coordinators change twice. */
export function sampleLog(): TestLog {
  const log = new TestLog();
  log.add({
    type: 'admit',
    member: memberOf('west', ['storage'], { labels: { dc: 'b' }, addresses: ['/ip4/10.0.0.4/tcp/1'] }),
  });
  log.add(
    { type: 'namespace', ns: 'docs', policy: { replicas: 2, diversity: { dc: 2 }, readMode: 'confirmed_only' } },
    { type: 'configuration', scope: 'cluster', values: { cleanup: { dailyAt: '03:00' } } },
  );
  log.know('west');
  log.add({ type: 'roles', nodeId: testNode('west').nodeId, roles: ['coordinator', 'storage'] });
  log.add({ type: 'labels', nodeId: testNode('east').nodeId, labels: { dc: 'a', rack: 'a4' } });
  log.add({ type: 'remove', nodeId: testNode('south').nodeId });
  log.add({ type: 'configuration', scope: 'cluster', values: {} });
  return log;
}
