import { describe, expect, it } from 'vitest';
import { conflictParameters, listParameters, noParameters } from '../../../src/http/schemas.ts';
import { namespaceTarget, objectTarget, parametersOf } from '../../../src/http/target.ts';

const keyOf = (rest: string): string => objectTarget(`/v1/objects/docs/${rest}`).key;

describe('objectTarget', () => {
  it('takes an encoded slash for a slash', () => {
    expect(keyOf('a/b')).toBe('a/b');
    expect(keyOf('a%2Fb')).toBe('a/b');
    expect(keyOf('a%2fb?parents=x')).toBe('a/b');
  });

  it('leaves double slashes, dot segments and ends as they are: the node judges keys', () => {
    for (const key of ['a//b', '/a', 'a/', '../x', 'a/./b', '']) expect(keyOf(key)).toBe(key);
    expect(keyOf('%2e%2e/x')).toBe('../x');
  });

  it('decodes once', () => {
    expect(keyOf('a%252Fb')).toBe('a%2Fb');
    expect(keyOf('100%25')).toBe('100%');
    expect(keyOf('a+b;c=d&e:@,$')).toBe('a+b;c=d&e:@,$');
  });

  it('takes raw UTF-8 for what it is', () => {
    expect(keyOf(Buffer.from('ключ/🙂').toString('latin1'))).toBe('ключ/🙂');
    expect(keyOf(encodeURIComponent('ключ/🙂'))).toBe('ключ/🙂');
  });

  it.each(['%', '%1', '%zz', '%ff', '%C3', '%ED%A0%80', '%C0%AF', '\u00ff'])('refuses %j as a key', (rest) => {
    expect(() => keyOf(rest)).toThrow(expect.objectContaining({ code: 'invalid_key' }));
  });

  it('refuses a bare # and a namespace that is not UTF-8', () => {
    expect(() => keyOf('a#b')).toThrow(expect.objectContaining({ code: 'invalid_request' }));
    expect(() => objectTarget('/v1/objects/%ff/a')).toThrow(expect.objectContaining({ code: 'invalid_namespace' }));
    expect(namespaceTarget('/v1/objects/a%2Fb?x=y')).toBe('a/b');
  });
});

describe('parametersOf', () => {
  it('reads what the schema knows, decoded, a plus as a space', () => {
    expect(parametersOf('/v1/objects/docs?prefix=a+b%2Bc&limit=10&after=', listParameters)).toEqual({
      prefix: 'a b+c',
      limit: 10,
      after: '',
    });
    expect(parametersOf('/v1/status', noParameters)).toEqual({});
    expect(parametersOf('/v1/status?', noParameters)).toEqual({});
  });

  it('names the parameters it does not know', () => {
    expect(() => parametersOf('/v1/conflicts?pretty=1&ns=docs&x', conflictParameters)).toThrow(
      expect.objectContaining({ code: 'invalid_request', extras: { parameters: ['pretty', 'x'] } }),
    );
    expect(() => parametersOf('/v1/status?__proto__=1', noParameters)).toThrow(/__proto__/);
  });

  it.each([
    'limit=0',
    'limit=1001',
    'limit=-1',
    'limit=1.5',
    'limit=',
    'limit=ten',
    'delimiter=',
    'prefix=%ff',
    'prefix=a&prefix=b',
  ])('refuses ?%s', (query) => {
    expect(() => parametersOf(`/v1/objects/docs?${query}`, listParameters)).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });
});
