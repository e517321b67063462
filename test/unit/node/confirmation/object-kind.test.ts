import { describe, expect, test } from 'vitest';
import type { DotContext } from '../../../../crdt/causality.ts';
import type { RegisterValue } from '../../../../crdt/certificate.ts';
import type { Actor, DocId, PeerId } from '../../../../crdt/ids.ts';
import type { Version } from '../../../../crdt/version.ts';
import { ObjectKind, type ObjectKindDependencies } from '../../../../src/node/confirmation/object-kind.ts';

/** first is the parent of left and right, and both is their merge. */
const parents: Readonly<Record<string, readonly string[]>> = {
  first: [],
  left: ['first'],
  right: ['first'],
  both: ['left', 'right'],
};
const isAncestor = (ancestor: string, version: string): boolean =>
  (parents[version] ?? []).some((parent) => parent === ancestor || isAncestor(ancestor, parent));

function kindWith(damaged: readonly string[] = []): ObjectKind {
  const objects = {
    ancestry: () => (ancestor: string, version: string) =>
      !damaged.includes(version) && !damaged.includes(ancestor) && isAncestor(ancestor, version),
    damaged: () => damaged,
  };
  return new ObjectKind({ objects, localPeer: 'alice' as PeerId } as unknown as ObjectKindDependencies);
}

const judged = (head: string | null, candidate: string, kind = kindWith()) => {
  const current = head === null ? null : ({ position: 1, head, previous: null } satisfies RegisterValue);
  const verdict = kind.check('register', current, candidate);
  return typeof verdict === 'string' ? verdict : verdict.code;
};

describe('a candidate for the confirmed head', () => {
  test('is accepted where there is none, and where it descends from the one there is', () => {
    expect(judged(null, 'left')).toBe('accept');
    expect(judged('first', 'left')).toBe('accept');
    expect(judged('left', 'both')).toBe('accept');
  });

  test('is held when it is the head or any of its ancestors: what proves the head proves it as well', () => {
    expect(judged('both', 'both')).toBe('held');
    expect(judged('both', 'left')).toBe('held');
    expect(judged('both', 'first')).toBe('held');
  });

  test('of another branch is refused for good, until a version names both', () => {
    expect(judged('left', 'right')).toBe('not_a_descendant');
    expect(judged('right', 'left')).toBe('not_a_descendant');
    expect(judged('right', 'both')).toBe('accept');
  });

  test('is not refused for good while the way to the head leads through a damaged record', () => {
    expect(judged('first', 'both', kindWith(['both']))).toBe('damaged');
    expect(judged('left', 'right', kindWith(['elsewhere']))).toBe('damaged');
  });
});

describe('a head that came along', () => {
  const bob = 'bob' as PeerId;
  const [record, content] = [Buffer.from('record'), Buffer.from('content')];
  const value: RegisterValue = { position: 1, head: 'left', previous: null };

  /** A kind whose disk takes what comes when it is told to. */
  function kindOnSlowDisk() {
    const flushed = Promise.withResolvers<{ added: readonly never[] }>();
    const stored = new Set<string>();
    const pulled: string[] = [];
    const received: unknown[] = [];
    const objects = {
      holds: () => false,
      sound: (_reader: unknown, head: string) =>
        stored.has(head) ? { record: { ns: 'ns', key: 'key' }, text: '' } : undefined,
      documentId: () => 'register',
    };
    const kind = new ObjectKind({
      objects,
      localPeer: 'alice' as PeerId,
      intake: {
        receive: (
          records: unknown,
          _from: unknown,
          _contents: unknown,
          told: { placed: (versions: Map<string, unknown>) => void },
        ) => {
          received.push(records);
          told.placed(new Map([['left', { record: { ns: 'ns', key: 'key' }, text: 'record' }]]));
          return flushed.promise;
        },
      },
      propagation: { arrived: () => undefined },
      pull: async (peer: string) => void pulled.push(peer),
    } as unknown as ObjectKindDependencies);
    const taken = kind.takeIn(
      [
        { head: 'left', enclosed: [record, content] },
        { head: 'right', enclosed: [record] },
      ],
      bob,
    );
    return { kind, taken, stored, pulled, received, flushed };
  }
  const { signal } = new AbortController();

  test('is on its way until it is on disk, and is held then', async () => {
    const { kind, taken, stored, flushed, pulled } = kindOnSlowDisk();
    expect((await taken).heads).toEqual(new Set(['left']));
    expect([kind.isArriving('register', 'left'), kind.isArriving('register', 'right')]).toEqual([true, false]);
    let isHeld: boolean | undefined;
    const held = kind.hold('register', value, bob, signal).then((is) => {
      isHeld = is;
    });
    for (let turn = 0; turn < 20; turn += 1) await null;
    expect(isHeld).toBeUndefined();
    stored.add('left');
    flushed.resolve({ added: [] });
    await held;
    expect(isHeld).toBe(true);
    expect(kind.isArriving('register', 'left')).toBe(false);
    expect(pulled).toEqual([]);
  });

  test('goes on to others as it came, before it can be read', async () => {
    const { kind, taken } = kindOnSlowDisk();
    await taken;
    expect(kind.enclose('left')).toEqual([record, content]);
  });

  test('is not on its way to another register', async () => {
    const { kind, taken } = kindOnSlowDisk();
    await taken;
    expect(kind.isArriving('another register', 'left')).toBe(false);
  });

  test('is not taken in again while it is on its way, as with this node’s own vote', async () => {
    const { kind, taken, received } = kindOnSlowDisk();
    await taken;
    expect((await kind.takeIn([{ head: 'left', enclosed: [record] }], bob)).heads).toEqual(new Set());
    expect(received).toHaveLength(1);
  });

  describe('and follows another', () => {
    const dot = { actor: 'writer.one' as Actor, counter: 1 };
    const arriving = (context: DotContext) =>
      ({ id: 'right', text: 'record', context, record: { ns: 'ns', key: 'key', content: null } }) as unknown as Version;
    const elder = { record: { ns: 'ns', key: 'key', dot }, text: '' };

    function verdictOf(context: DotContext, { hasUniqueDots = true, of = 'register' } = {}) {
      const objects = {
        sound: (_reader: unknown, id: string) => (id === 'left' ? elder : undefined),
        hasUniqueDots: () => hasUniqueDots,
        ancestry: () => () => false,
        damaged: () => [],
      };
      const kind = new ObjectKind({
        objects,
        content: { small: () => undefined },
      } as unknown as ObjectKindDependencies);
      kind.wrote(of as DocId, arriving(context), undefined, new Promise(() => undefined));
      const verdict = kind.check('register', value, 'right');
      return typeof verdict === 'string' ? verdict : verdict.code;
    }

    test('is accepted by what its own record says, though it cannot be read yet', () => {
      expect(verdictOf(new Map([[dot.actor, [[1, 1]]]]))).toBe('accept');
    });

    test('is not known to follow by dots that were issued twice, of another register, or by no dot', () => {
      const context: DotContext = new Map([[dot.actor, [[1, 1]]]]);
      expect(verdictOf(context, { hasUniqueDots: false })).toBe('not_a_descendant');
      expect(verdictOf(context, { of: 'another register' })).toBe('not_a_descendant');
      expect(verdictOf(new Map())).toBe('not_a_descendant');
    });
  });

  test('is given once more to whoever tells the others of it', async () => {
    const { kind, taken } = kindOnSlowDisk();
    await taken;
    expect(kind.takeEnclosed('left')).toBeUndefined();
    kind.enclose('left');
    expect(kind.takeEnclosed('left')).toEqual([record, content]);
    expect(kind.takeEnclosed('left')).toBeUndefined();
  });

  test('is not taken in from this node itself: what it wrote and could not store came to nothing', async () => {
    const { kind, taken, received } = kindOnSlowDisk();
    await taken;
    expect((await kind.takeIn([{ head: 'other', enclosed: [record] }], 'alice' as PeerId)).heads).toEqual(new Set());
    expect(received).toHaveLength(1);
  });

  test('is asked for when the disk did not take it', async () => {
    const { kind, taken, flushed, pulled } = kindOnSlowDisk();
    const { flushed: told } = await taken;
    const held = kind.hold('register', value, bob, signal);
    flushed.reject(new Error('the disk fails'));
    await expect(told).rejects.toThrow('the disk fails');
    expect(await held).toBe(false);
    expect(kind.isArriving('register', 'left')).toBe(false);
    expect(pulled).toEqual([bob]);
  });
});
