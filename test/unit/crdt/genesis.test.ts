import { describe, expect, test } from 'vitest';
import { decodeGenesis, encodeGenesis, type Genesis, slotsOfCluster } from '../../../crdt/genesis.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { refusal } from '../../support/versions.ts';

const vectors = readVectors('genesis');

describe('a genesis entry', () => {
  test.each(vectors.accepted)('of cluster $genesis.cluster has the text and the id of the vector', (vector) => {
    expect(encodeGenesis(vector.genesis)).toBe(vector.text);
    expect(decodeGenesis(vector.text)).toEqual({ ok: true, value: { genesis: vector.genesis, id: vector.id } });
  });

  test('may stand in a file that ends with a newline', () => {
    const [{ text, id } = expect.fail()] = vectors.accepted;
    expect(decodeGenesis(`${text}\n`)).toMatchObject({ ok: true, value: { id } });
  });

  test.each(vectors.refused)('is refused for its $why', ({ text }) => {
    expect(refusal(decodeGenesis(text))).toEqual(expect.any(String));
  });

  test('is refused when it is cut short anywhere', () => {
    const [{ text } = expect.fail()] = vectors.accepted;
    for (let length = 0; length < text.length; length += 1) {
      expect(decodeGenesis(text.slice(0, length)).ok).toBe(false);
    }
  });

  test('is not written when it would not be read', () => {
    const [{ genesis } = expect.fail()] = vectors.accepted;
    expect(() => encodeGenesis({ ...genesis, members: [] })).toThrow(TypeError);
    expect(() => encodeGenesis({ ...genesis, v: 2 } as unknown as Genesis)).toThrow(TypeError);
  });

  test('says how many slots there are, and means 16 when it does not', () => {
    const genesis = vectors.accepted.map((vector) => vector.genesis);
    expect(genesis.map((entry) => slotsOfCluster(entry))).toEqual([16, 16, 16, 4_096]);
    expect(() => encodeGenesis({ ...(genesis[0] ?? expect.fail()), slots: 12 })).toThrow(TypeError);
  });

  test('has another id for another seed, name, member or order of members', () => {
    const [, pair = expect.fail()] = vectors.accepted;
    const { genesis } = pair;
    const others: Genesis[] = [
      { ...genesis, seed: 'a'.repeat(52) },
      { ...genesis, cluster: 'other' },
      { ...genesis, members: genesis.members.slice(1) },
      { ...genesis, members: genesis.members.toReversed() },
    ];
    const ids = [genesis, ...others].map((entry) => {
      const decoded = decodeGenesis(encodeGenesis(entry));
      return decoded.ok ? decoded.value.id : expect.fail(decoded.error);
    });
    expect(new Set(ids).size).toBe(5);
  });
});
