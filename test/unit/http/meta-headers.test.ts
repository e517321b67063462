import { describe, expect, it } from 'vitest';
import { metaBytesMax as recordMetaBytesMax } from '../../../crdt/version.ts';
import { metaBytesMax } from '../../../src/http/limits.ts';
import { contentTypeOf, metaHeaders, metaOf } from '../../../src/http/meta-headers.ts';

describe('metadata headers', () => {
  it.each(['plain', 'Käse', '100 %', ' ends ', '   ', ' ', '', '日本語 and 🙂', 'a\tb', 'it\'s; a=b, "c"'])(
    'carry %j both ways',
    (value) => {
      const headers = metaHeaders({ note: value });
      expect(headers['x-anabranch-meta-note']).toMatch(/^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/);
      expect(metaOf(headers)).toEqual({ note: value });
    },
  );

  it('take bytes sent raw as UTF-8', () => {
    expect(metaOf({ 'x-anabranch-meta-note': Buffer.from('Käse').toString('latin1') })).toEqual({ note: 'Käse' });
  });

  it.each(['100%', '%zz', '%ff', '%ED%A0%80', 'K\u00e4se'])(
    'refuse %j, which is not UTF-8 in percent-encoding',
    (value) => {
      expect(() => metaOf({ 'x-anabranch-meta-note': value })).toThrow(/percent-encoded/);
    },
  );

  it('keep a name such as __proto__ from meaning anything', () => {
    const meta = metaOf(JSON.parse('{"x-anabranch-meta-__proto__": "x"}'));
    expect(Object.entries(meta ?? {})).toEqual([['__proto__', 'x']]);
  });

  it('are bounded together, at what a record holds', () => {
    expect(metaBytesMax).toBe(recordMetaBytesMax);
    const fits = { 'x-anabranch-meta-a': 'x'.repeat(4_095), 'x-anabranch-meta-b': 'x'.repeat(4_095) };
    expect(metaOf(fits)).toBeDefined();
    expect(() => metaOf({ ...fits, 'x-anabranch-meta-c': '' })).toThrow(/8192 bytes/);
  });

  it('are absent when there are none', () => {
    expect(metaOf({ accept: '*/*' })).toBeUndefined();
  });
});

describe('contentTypeOf', () => {
  it('takes visible ASCII up to a bound', () => {
    expect(contentTypeOf({ 'content-type': 'text/plain; charset=utf-8' })).toBe('text/plain; charset=utf-8');
    expect(contentTypeOf({})).toBeUndefined();
    expect(contentTypeOf({ 'content-type': '' })).toBeUndefined();
    for (const type of [`text/${'x'.repeat(256)}`, 'text/pl\u00e4in']) {
      expect(() => contentTypeOf({ 'content-type': type })).toThrow(/Content-Type/);
    }
  });
});
