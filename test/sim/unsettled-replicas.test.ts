import { describe, expect, it } from 'vitest';
import type { BlobHash } from '../../crdt/ids.ts';
import type { World } from './checkers/checker.ts';
import { unsettledReplicas } from './checkers/replicas.ts';

const [first, second] = ['first', 'second'] as BlobHash[] as [BlobHash, BlobHash];

/** Two nodes that audit, what each holds, and who each believes has what. */
class TwoAuditors {
  readonly held = { alice: new Set<BlobHash>(), bob: new Set<BlobHash>() };
  readonly believed = { alice: new Map<BlobHash, string[]>(), bob: new Map<BlobHash, string[]>() };
  looks = 0;

  readonly world = {
    ledger: { excusedContents: new Set() },
    machines: new Map((['alice', 'bob'] as const).map((name) => [name, this.#machine(name)])),
  } as unknown as World;

  /** Both have it, and know so. */
  add(manifest: BlobHash): void {
    for (const name of ['alice', 'bob'] as const) {
      this.held[name].add(manifest);
      this.believed[name].set(manifest, ['alice', 'bob']);
    }
  }

  #machine(name: 'alice' | 'bob') {
    const holders = (manifest: BlobHash) => {
      this.looks += 1;
      return (this.believed[name].get(manifest) ?? []).map((nodeId) => ({ nodeId, isSuspect: false }));
    };
    return {
      name,
      kv: { range: () => [] },
      member: { nodeId: name },
      contents: { all: () => this.held[name], has: (manifest: BlobHash) => this.held[name].has(manifest) },
      process: { node: { replicationParts: { auditor: { status: () => ({ isAuditor: true }) }, index: { holders } } } },
    };
  }
}

describe('whether replication is at rest', () => {
  it('looks first at what lacked last, and at everything once that is there', () => {
    const mesh = new TwoAuditors();
    mesh.add(first);
    mesh.add(second);
    expect(unsettledReplicas(mesh.world)).toBeUndefined();
    mesh.believed.bob.set(second, ['bob']);
    expect(unsettledReplicas(mesh.world)).toBe('bob does not know that alice has content second');
    mesh.looks = 0;
    expect(unsettledReplicas(mesh.world)).toBe('bob does not know that alice has content second');
    expect(mesh.looks).toBe(1);
    mesh.believed.bob.set(second, ['alice', 'bob']);
    mesh.believed.alice.set(first, []);
    expect(unsettledReplicas(mesh.world)).toBe('alice does not know that alice has content first');
    mesh.believed.alice.set(first, ['alice', 'bob']);
    expect(unsettledReplicas(mesh.world)).toBeUndefined();
  });

  it('asks nobody about a content that lacked and is nowhere any more', () => {
    const mesh = new TwoAuditors();
    mesh.add(first);
    mesh.held.bob.delete(first);
    expect(unsettledReplicas(mesh.world)).toBe('alice believes that bob has content first');
    mesh.held.alice.delete(first);
    expect(unsettledReplicas(mesh.world)).toBeUndefined();
  });
});
