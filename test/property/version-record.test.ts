import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeCanonical } from '../../crdt/canonical-json.ts';
import { emptyContext } from '../../crdt/causality.ts';
import { blake3, isHash, toBase32 } from '../../crdt/digest.ts';
import { verifySignature } from '../../crdt/signature.ts';
import {
  checkAgainstParents,
  decodeVersion,
  draftVersion,
  signVersion,
  type Version,
  type VersionFaultCode,
  verifyVersion,
} from '../../crdt/version.ts';
import { runs } from '../support/property-runs.ts';
import { type RandomHistory, randomHistory } from '../support/random-history.ts';
import {
  accepted,
  actorOf,
  contentOf,
  fieldsOf,
  forge,
  refusal,
  testCluster,
  testNode,
  write,
} from '../support/versions.ts';

const alice = testNode('alice');

const key = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 60 })
  .filter((text) => !text.includes('\0') && !text.split('/').some((part) => part === '.' || part === '..'));
const plainText = fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => text.replace(/\p{Cc}/gu, ' '));
const metaName = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/);
/** Names and texts made to look like the fields they sit beside. */
const misleading = fc.constantFrom('sig', '"sig":"', '","sig":"AAAA","time":1', '"time":', '\\"time":', 'time');
const fields = fc.record({
  ns: fc.stringMatching(/^[a-z0-9][a-z0-9.-]{1,62}$/),
  key: fc.oneof(key, misleading),
  type: fc.oneof(fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/), misleading),
  meta: fc.dictionary(fc.oneof(metaName, fc.constantFrom('sig', 'time')), fc.oneof(plainText, misleading), {
    maxKeys: 5,
  }),
  author: fc.oneof(plainText, misleading).map((text) => `a${text}`),
  time: fc.nat(Number.MAX_SAFE_INTEGER),
  content: fc.tuple(fc.string(), fc.nat(Number.MAX_SAFE_INTEGER)).map(([text, size]) => ({ ...contentOf(text), size })),
});

const refused = (input: string | Uint8Array): boolean => {
  const decoded = decodeVersion(input);
  if (!decoded.ok) {
    expect(['malformed', 'too_large']).toContain(decoded.error.code);
    return true;
  }
  return !verifyVersion(decoded.value, testCluster, alice.signer.publicKey);
};

describe('a signed version', () => {
  test('reads back as what was written, from text and from bytes', () => {
    fc.assert(
      fc.property(fields, (changes) => {
        const version = write(alice, [], changes);
        for (const input of [version.text, Buffer.from(version.text, 'utf8')]) {
          const decoded = accepted(decodeVersion(input));
          expect(decoded).toEqual(version);
          expect(verifyVersion(decoded, testCluster, alice.signer.publicKey)).toBe(true);
        }
      }),
      runs(5),
    );
  });

  test('is signed over its canonical JSON without sig, and named by the hash of all of it', () => {
    fc.assert(
      fc.property(fields, (changes) => {
        const { id, record, text } = write(alice, [], changes);
        const { sig, ...unsigned } = record;
        expect(text).toBe(encodeCanonical(record));
        const digest = blake3(Buffer.from(encodeCanonical(unsigned), 'utf8'));
        const domain = `anabranch/version/1/${testCluster}`;
        expect(verifySignature(alice.signer.publicKey, domain, digest, Buffer.from(sig, 'base64url'))).toBe(true);
        expect(id).toBe(toBase32(blake3(Buffer.from(text, 'utf8'))));
        expect(isHash(id)).toBe(true);
      }),
      runs(3),
    );
  });
});

describe('a record that was tampered with', () => {
  const root = write(alice, [], { meta: { note: 'a "quoted" word, ünïcode and 𝄞' } });
  const version = write(alice, [root], { key: root.record.key });
  const originals = [root, version].map(({ text }) => Buffer.from(text, 'utf8'));
  const original = fc.constantFrom(...originals);

  test('is refused when any one bit of it is flipped', () => {
    for (const bytes of originals) {
      for (let at = 0; at < bytes.length; at += 1) {
        for (let bit = 0; bit < 8; bit += 1) {
          const flipped = Buffer.from(bytes);
          flipped[at] = (flipped[at] as number) ^ (1 << bit);
          if (!refused(flipped)) expect.fail(`bit ${bit} of byte ${at} is not protected`);
        }
      }
    }
  });

  test('is refused when it is cut short anywhere, or has anything behind it', () => {
    for (const bytes of originals) {
      for (let length = 0; length < bytes.length; length += 1) expect(refused(bytes.subarray(0, length))).toBe(true);
      for (const more of [' ', '\n', '\0', '{}', '\ufeff']) expect(refused(bytes.toString('utf8') + more)).toBe(true);
    }
  });

  test('is refused when bytes are put in, taken out or replaced', () => {
    fc.assert(
      fc.property(original, fc.nat(), fc.nat(40), fc.uint8Array({ maxLength: 40 }), (bytes, place, taken, put) => {
        const at = place % bytes.length;
        const edited = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + taken)]);
        fc.pre(!edited.equals(bytes));
        expect(refused(edited)).toBe(true);
      }),
      runs(20),
    );
  });

  test('is refused when any value in it is another, also when the text is canonical', () => {
    const record = version.record as unknown as Record<string, unknown>;
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(record), 'extra'), fc.jsonValue(), (field, value) => {
        const text = encodeCanonical({ ...record, [field]: value });
        fc.pre(text !== version.text);
        expect(refused(text)).toBe(true);
      }),
      runs(10),
    );
  });

  test('never makes the decoder throw: any bytes, any text and any JSON give a fault', () => {
    const any = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.string({ unit: 'binary', maxLength: 200 }).map((text) => text.slice(1)),
      fc.json(),
      fc.jsonValue().map((value) => encodeCanonical(value)),
    );
    fc.assert(
      fc.property(any, (input) => {
        expect(refused(input)).toBe(true);
      }),
      runs(20),
    );
  });

  test('is refused with a declared fault when a member signed nonsense into any field', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(version.record).filter((field) => field !== 'sig')),
        fc.oneof(fc.jsonValue(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string()),
        (field, value) => {
          const decoded = decodeVersion(forge(alice, version, { [field]: value }));
          if (!decoded.ok) {
            expect(decoded.error.code).toBe('malformed');
            return;
          }
          // What still reads is a record of its own, and signed: its fields hold what the format allows.
          expect(verifyVersion(decoded.value, testCluster, alice.signer.publicKey)).toBe(true);
          expect(['time', 'key', 'ns', 'author', 'type', 'meta', 'context', 'generation', 'dot']).toContain(field);
        },
      ),
      runs(10),
    );
  });
});

describe('a member that lies about ancestry', () => {
  const history = randomHistory({ stepsMax: 25 });

  const faultOf = (text: string, { versions, ancestors }: RandomHistory): VersionFaultCode | undefined => {
    const decoded = decodeVersion(text);
    if (!decoded.ok) return decoded.error.code;
    const named = new Set(decoded.value.record.parents);
    return checkAgainstParents(
      decoded.value,
      versions.filter(({ id }) => named.has(id)),
      (elder, younger) => ancestors.get(younger)?.has(elder) ?? false,
    )?.code;
  };

  /** An honest child of the last version and what is concurrent with it. */
  const childOf = ({ versions, ancestors }: RandomHistory): Version => {
    const last = versions.at(-1) as Version;
    const beside = versions.find(({ id }) => id !== last.id && !ancestors.get(last.id)?.has(id));
    return write(alice, beside === undefined ? [last] : [last, beside]);
  };

  test('is found out when a generation is not one more than the greatest of the parents', () => {
    fc.assert(
      fc.property(history, fc.integer({ min: 2, max: 60 }), (random, generation) => {
        const child = childOf(random);
        fc.pre(generation !== child.record.generation);
        expect(faultOf(forge(alice, child, { generation }), random)).toBe('wrong_generation');
      }),
      runs(1),
    );
  });

  test("is found out when a context is not exactly the ancestors' dots", () => {
    fc.assert(
      fc.property(history, fc.nat(), fc.constantFrom('less', 'more', 'none'), (random, choice, lie) => {
        const child = childOf(random);
        const context: Record<string, unknown> = { ...child.record.context };
        const actor = Object.keys(context)[choice % Object.keys(context).length] as string;
        if (lie === 'less') delete context[actor];
        if (lie === 'more') context[actorOf(testNode('stranger'))] = 1;
        const lying = forge(alice, child, { context: lie === 'none' ? {} : context });
        expect(faultOf(lying, random)).toBe('wrong_context');
      }),
      runs(1),
    );
  });

  test('is found out when one parent is an ancestor of another', () => {
    fc.assert(
      fc.property(history, (random) => {
        const last = random.versions.at(-1) as Version;
        const [elder] = random.ancestors.get(last.id) ?? [];
        fc.pre(elder !== undefined);
        const child = write(alice, [last]);
        const parents = [last.id, elder as string].sort();
        expect(faultOf(forge(alice, child, { parents, kind: 'merge' }), random)).toBe('not_an_antichain');
        const named = random.versions.filter(({ id }) => parents.includes(id));
        const draft = draftVersion(named, fieldsOf(alice, named));
        expect(refusal(draft).code).toBe('not_an_antichain');
      }),
      runs(1),
    );
  });

  test('is found out when a dot is one of the context, or not after the actor’s last', () => {
    fc.assert(
      fc.property(history, fc.nat(), (random, choice) => {
        const last = random.versions.at(-1) as Version;
        const first = write(alice, [last]);
        const second = write(alice, [first], { dot: { actor: actorOf(alice), counter: 5 } });
        const third = write(alice, [second]);
        const counter = 1 + (choice % 5);
        const dot = { actor: actorOf(alice), counter };
        const all = { ...random, versions: [...random.versions, first, second] };
        expect(faultOf(forge(alice, third, { dot }), all)).toBe('reused_dot');
        const draft = draftVersion([second], fieldsOf(alice, [second], { dot }));
        expect(refusal(draft).code).toBe('reused_dot');
      }),
      runs(1),
    );
  });

  test('is found out when a parent belongs to another object', () => {
    fc.assert(
      fc.property(history, fc.constantFrom({ key: 'elsewhere' }, { ns: 'other' }), (random, elsewhere) => {
        const child = childOf(random);
        expect(faultOf(forge(alice, child, elsewhere), random)).toBe('foreign_parent');
        const parents = random.versions.slice(-1);
        const draft = draftVersion(parents, fieldsOf(alice, parents, elsewhere));
        expect(refusal(draft).code).toBe('foreign_parent');
      }),
      runs(1),
    );
  });
});

test('a draft signs to the same bytes every time', () => {
  const draft = accepted(draftVersion([], fieldsOf(alice, [])));
  const once = signVersion(draft, alice.signer, testCluster);
  expect(signVersion(draft, alice.signer, testCluster)).toEqual(once);
  expect(once.context).toBe(emptyContext);
});
