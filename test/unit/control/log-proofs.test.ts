import { afterEach, expect, test } from 'vitest';
import { encodeCanonical } from '../../../crdt/canonical-json.ts';
import { fromBase32 } from '../../../crdt/digest.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../../../crdt/merkle-log.ts';
import type { Outcome } from '../../../src/node/api.ts';
import { ControlMesh } from '../../support/control-mesh.ts';

let mesh: ControlMesh;
afterEach(() => mesh.stop());

const entries = 5;
const raw = (text: string): Uint8Array => fromBase32(text) ?? expect.fail(`${text} is no base32`);
const had = <T>(outcome: Outcome<T>): T => (outcome.ok ? outcome.value : expect.fail(outcome.error.code));

async function start() {
  mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
  for (let replicas = 1; replicas <= entries; replicas += 1) {
    await mesh.change('a', { type: 'namespace', ns: 'docs', policy: { replicas } });
  }
  await mesh.settle();
  const { cluster } = mesh.get('d').node;
  const listed = cluster.entries({}).entries;
  const hashes = [had(cluster.proof({ seq: 0 })).hash, ...listed.map(({ hash }) => hash)];
  // What any client has that was given the entries alone.
  return { cluster, hashes, texts: [cluster.genesis(), ...listed.map(({ entry }) => encodeCanonical(entry))] };
}

test('any node proves by what it gives out that an entry stands in the log, in its tree of any size', async () => {
  const { cluster, hashes, texts } = await start();
  expect(texts).toHaveLength(entries + 1);
  const end = cluster.checkpoint();
  for (const [seq, text] of texts.entries()) {
    const whole = had(cluster.proof({ seq }));
    expect(whole).toMatchObject({ seq, hash: hashes[seq], size: end.size, root: end.root });
    for (let size = seq + 1; size <= texts.length; size += 1) {
      const { hash, root, path, ...proof } = had(cluster.proof({ seq, size }));
      expect([proof.size, hash]).toEqual([size, hashes[seq]]);
      const claim = { leaf: leafHash(Buffer.from(text)), index: seq, size, root: raw(root) };
      expect(verifyInclusion(claim, path.map(raw)), `${seq} of ${size}`).toBe(true);
    }
  }
  for (const asked of [{ seq: entries + 1 }, { seq: 1, size: 1 }, { seq: 0, size: entries + 2 }]) {
    expect(cluster.proof(asked)).toMatchObject({ ok: false, error: { code: 'not_found' } });
  }
});

test('and that a log of any size only goes on from each smaller one', async () => {
  const { cluster, texts } = await start();
  const rootAt = (size: number): Uint8Array => raw(had(cluster.proof({ seq: 0, size })).root);
  for (let first = 1; first <= texts.length; first += 1) {
    expect(had(cluster.consistency({ first })).size).toBe(texts.length);
    for (let size = first; size <= texts.length; size += 1) {
      const proof = had(cluster.consistency({ first, size }));
      expect([proof.first, proof.size]).toEqual([first, size]);
      const growth = { first, firstRoot: rootAt(first), second: size, secondRoot: raw(proof.root) };
      expect(verifyConsistency(growth, proof.path.map(raw)), `${first} to ${size}`).toBe(true);
    }
  }
  expect(cluster.consistency({ first: 3, size: 2 })).toMatchObject({ ok: false, error: { code: 'not_found' } });
});
