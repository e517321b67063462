import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCanonical, encodeCanonical } from '../../crdt/canonical-json.ts';
import {
  blake3,
  createBlake3,
  fromBase32,
  fromHex,
  isHash,
  keyedBlake3,
  loadPortableBlake3,
  toBase32,
  toHex,
} from '../../crdt/digest.ts';
import { decodeGenesis } from '../../crdt/genesis.ts';
import { checkKey, checkNamespace } from '../../crdt/object-name.ts';
import { fromBase64Url, peerIdOf, publicKeyOf, toBase64Url } from '../../crdt/signature.ts';
import { runs } from '../support/property-runs.ts';
import { readVectors } from '../support/vectors/index.ts';

const bytes = fc.uint8Array({ maxLength: 80 });
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.stringMatching(/^[a-z2-7]{0,60}$/),
  fc.stringMatching(/^[A-Za-z0-9_-]{0,60}$/),
);

describe('texts for bytes', () => {
  test('give the bytes back', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        expect(fromBase32(toBase32(input))).toEqual(input);
        expect(fromBase64Url(toBase64Url(input))).toEqual(input);
        expect(fromHex(toHex(input))).toEqual(input);
        expect(isHash(toBase32(input))).toBe(input.length === 32);
      }),
      runs(5),
    );
  });

  test('are read in one form only: what is read is written alike', () => {
    fc.assert(
      fc.property(text, (input) => {
        const [base32, base64Url, hex] = [fromBase32(input), fromBase64Url(input), fromHex(input)];
        if (base32 !== undefined) expect(toBase32(base32)).toBe(input);
        if (base64Url !== undefined) expect(toBase64Url(base64Url)).toBe(input);
        if (hex !== undefined) expect(toHex(hex)).toBe(input);
        expect(isHash(input)).toBe(base32?.length === 32);
      }),
      runs(10),
    );
  });

  test('name a key both ways', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), text, (publicKey, other) => {
        const peerId = peerIdOf(publicKey);
        expect(publicKeyOf(peerId)).toEqual(publicKey);
        const key = publicKeyOf(other);
        if (key !== undefined) expect(peerIdOf(key)).toBe(other);
      }),
      runs(3),
    );
  });
});

describe('hashes', () => {
  const portable = loadPortableBlake3();

  test('are the same from both implementations, and however the input is split', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 5_000, size: 'max' }),
        fc.array(fc.nat(2_000), { maxLength: 8 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (input, splits, key) => {
          const hasher = createBlake3();
          let at = 0;
          for (const length of splits) {
            hasher.update(input.subarray(at, at + length));
            at += length;
          }
          hasher.update(input.subarray(at));
          const hash = blake3(input);
          expect(hasher.digest()).toEqual(hash);
          expect(portable.hash(input)).toEqual(hash);
          expect(portable.keyedHash(key, input)).toEqual(keyedBlake3(key, input));
        },
      ),
      runs(2),
    );
  });
});

describe('canonical JSON', () => {
  test('is one text for a value, whatever the order of its keys, and reads back as the value', () => {
    const reversed = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(reversed);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([name, member]) => [name, reversed(member)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const written = encodeCanonical(value);
        expect(encodeCanonical(reversed(value))).toBe(written);
        const read = decodeCanonical(written, 1_000_000);
        expect(read.ok && encodeCanonical(read.value)).toBe(written);
      }),
      runs(5),
    );
  });

  test('is written as by a library that brings every member in order by itself, hostile keys and texts included', () => {
    const key = fc.oneof(
      fc.string({ maxLength: 3 }),
      fc.constantFrom(
        '0',
        '2',
        '10',
        '01',
        '__proto__',
        'toJSON',
        'constructor',
        '\ud800',
        '\uffff',
        '\u{10000}',
        'é',
        '',
        'a"',
      ),
    );
    const { tree } = fc.letrec((tie) => ({
      leaf: fc.oneof(
        fc.double(),
        fc.integer(),
        fc.boolean(),
        fc.constantFrom(null, undefined, -0, Number.NaN, 1e21, '\udc00', '\\ud800', '\u2028'),
        fc.string({ unit: 'binary' }),
      ),
      tree: fc.oneof(
        { maxDepth: 5 },
        tie('leaf'),
        fc.array(tie('tree'), { maxLength: 4 }),
        fc.array(fc.tuple(key, tie('tree')), { maxLength: 5 }).map((members) => Object.fromEntries(members)),
      ),
    }));
    const outcome = (write: () => string | undefined): string | undefined => {
      try {
        return write();
      } catch {
        return undefined;
      }
    };
    fc.assert(
      fc.property(tree, (value) => {
        const expected = outcome(() => canonicalize(value));
        expect(outcome(() => encodeCanonical(value))).toBe(expected);
        if (expected !== undefined) expect(decodeCanonical(expected, 1_000_000).ok).toBe(true);
      }),
      runs(10),
    );
  });

  test('is written in a time that grows with its length, however its members are nested and ordered', () => {
    let value: unknown = 0;
    for (let depth = 0; depth < 30; depth += 1) value = { b: value, a: depth };
    expect(encodeCanonical(value)).toBe(canonicalize(value));
    expect(decodeCanonical(JSON.stringify(value), 1_000_000).ok).toBe(false);
  });

  test('is the only text of a value that is read, and nothing makes the reader throw', () => {
    const hostile = fc.oneof(
      text,
      fc.json(),
      fc.json().map((written) => `${written} `),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(hostile, (input) => {
        const read = decodeCanonical(input, 1_000);
        if (read.ok) expect(encodeCanonical(read.value)).toBe(input);
        else expect(read.error).toEqual(expect.any(String));
      }),
      runs(10),
    );
  });
});

describe('a genesis entry that was tampered with', () => {
  const originals = readVectors('genesis').accepted;

  test('is refused or founds another cluster, and nothing makes the reader throw', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...originals),
        fc.nat(),
        fc.nat(9),
        fc.string({ maxLength: 9 }),
        (one, place, cut, put) => {
          const at = place % one.text.length;
          const edited = one.text.slice(0, at) + put + one.text.slice(at + cut);
          fc.pre(edited !== one.text && edited !== `${one.text}\n`);
          const decoded = decodeGenesis(edited);
          if (decoded.ok) expect(decoded.value.id).not.toBe(one.id);
          else expect(decoded.error).toEqual(expect.any(String));
        },
      ),
      runs(10),
    );
  });

  test('is refused with a reason when any field holds anything else', () => {
    const record = JSON.parse((originals[0] ?? expect.fail()).text) as Record<string, unknown>;
    const [member] = record.members as Record<string, unknown>[];
    const names = [...Object.keys(record), ...Object.keys(member ?? {})];
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.jsonValue(), (name, value) => {
        const changed =
          name in record ? { ...record, [name]: value } : { ...record, members: [{ ...member, [name]: value }] };
        const decoded = decodeGenesis(encodeCanonical(changed));
        if (decoded.ok) expect(decoded.value.genesis).toEqual(changed);
        else expect(decoded.error).toEqual(expect.any(String));
      }),
      runs(5),
    );
  });
});

test('names of objects are judged by their rules alone, never thrown at', () => {
  const name = fc.oneof(
    text,
    fc
      .array(fc.constantFrom('.', '..', '/', 'a', '\0', '\ud800', 'é', '-'), { maxLength: 6 })
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(name, (input) => {
      const segments = input.split('/');
      const validKey =
        input !== '' &&
        input.isWellFormed() &&
        !/\0/.test(input) &&
        !segments.includes('.') &&
        !segments.includes('..');
      expect(checkKey(input) === undefined).toBe(validKey);
      expect(checkNamespace(input) === undefined).toBe(/^[a-z0-9][a-z0-9.-]{1,62}$/.test(input));
    }),
    runs(10),
  );
});
