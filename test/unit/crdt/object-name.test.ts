import { describe, expect, test } from 'vitest';
import { isActor, isNodeId } from '../../../crdt/node-name.ts';
import { checkKey, checkNamespace } from '../../../crdt/object-name.ts';
import { actorOf, testNode } from '../../support/versions.ts';

describe('a namespace', () => {
  test.each(['ab', 'docs', '0-9.x', 'a'.repeat(63), 'a.', 'a-'])('can be %s', (text) => {
    expect(checkNamespace(text)).toBeUndefined();
  });

  test.each(['', 'a', 'a'.repeat(64), 'Docs', '-a', '.a', 'a_b', 'a/b', 'ä0', 'ab\n', 'a b', '..'])(
    'cannot be %j',
    (text) => {
      expect(checkNamespace(text)).toEqual(expect.any(String));
    },
  );
});

describe('a key', () => {
  test.each([
    'a',
    '/',
    'a//b',
    ' ',
    '.a',
    '...',
    'a/.../b',
    'grüße/𝄞',
    'a\nb',
    '\\',
    '%2e%2e',
    'a'.repeat(1_024),
    'é'.repeat(512),
  ])('can be %j', (text) => {
    expect(checkKey(text)).toBeUndefined();
  });

  test.each([
    '',
    '\0',
    'a\0b',
    '.',
    '..',
    'a/.',
    './a',
    'a/../b',
    '../..',
    '\ud800',
    'a\udfff',
    'a'.repeat(1_025),
    'é'.repeat(513),
  ])('cannot be %j', (text) => {
    expect(checkKey(text)).toEqual(expect.any(String));
  });
});

describe('names of nodes and actors', () => {
  const node = testNode('alice');

  test('are told from any other text', () => {
    expect(isNodeId(node.nodeId)).toBe(true);
    expect(isActor(actorOf(node))).toBe(true);
    for (const text of ['', 'alice', actorOf(node), node.nodeId.toUpperCase(), `${node.nodeId}a`, `${node.nodeId}\n`]) {
      expect(isNodeId(text)).toBe(false);
    }
    for (const text of ['', node.nodeId, `${node.nodeId}.`, `${actorOf(node)}a`, ` ${actorOf(node)}`]) {
      expect(isActor(text)).toBe(false);
    }
  });

  test('have one text each: spare bits at the end are zero', () => {
    expect(isNodeId(`${'a'.repeat(25)}b`)).toBe(false);
    expect(isActor(`${'a'.repeat(26)}.${'a'.repeat(12)}b`)).toBe(false);
    expect(isActor(`${'a'.repeat(26)}.${'a'.repeat(12)}c`)).toBe(true);
  });
});
