import { expect, it } from 'vitest';
import { z } from 'zod';
import { describeIssues, worded } from '../../src/schema-issues.ts';

function issuesOf(schema: z.ZodType, value: unknown): string | undefined {
  const { error } = schema.safeParse(value, worded);
  return error === undefined ? undefined : describeIssues(error);
}

it.each<[string, z.ZodType, unknown, string]>([
  ['text that is missing', z.object({ a: z.string() }), {}, '"a": text is expected.'],
  ['a number that is text', z.object({ a: z.number() }), { a: '1' }, '"a": a number is expected.'],
  ['half of a number', z.int(), 1.5, 'a whole number is expected.'],
  ['a list that is an object', z.array(z.string()), {}, 'a list is expected.'],
  ['no object', z.strictObject({}), 'x', 'an object is expected.'],
  ['another value', z.enum(['local', 'quorum']), 'later', 'one of local, quorum is expected.'],
  ['not the one value', z.literal(1), 2, '1 is expected.'],
  ['empty text', z.object({ a: z.string().min(1) }), { a: '' }, '"a": at least 1 character is expected.'],
  ['long text', z.string().max(2), 'abc', 'at most 2 characters are expected.'],
  ['an empty list', z.array(z.string()).min(1), [], 'at least 1 entry is expected.'],
  ['a long list', z.array(z.string()).max(2), ['a', 'b', 'c'], 'at most 2 entries are expected.'],
  ['a small number', z.number().min(2), 1, 'at least 2 is expected.'],
  ['a large number', z.int().max(40), 41, 'at most 40 is expected.'],
  ['another form', z.string().regex(/^a$/), 'b', 'it does not have the form that is expected.'],
  ['no URL', z.url(), 'b', 'a URL is expected.'],
  ['none of several', z.union([z.string(), z.array(z.string())]), 1, 'this is none of what is expected.'],
  [
    'another kind',
    z.discriminatedUnion('kind', [z.object({ kind: z.literal('a') }), z.object({ kind: z.literal('b') })]),
    { kind: 'c' },
    '"kind": this is none of what is expected.',
  ],
  ['two unknown entries', z.strictObject({}), { a: 1, b: 2 }, 'Unknown: "a", "b".'],
  ['what has words of its own', z.string().refine(() => false, 'must be a rate'), 'x', 'must be a rate.'],
  ['a form that has words of its own', z.string().regex(/^a$/, 'an a is expected'), 'b', 'an a is expected.'],
])('tells of %s in words of this project', (_what, schema, value, expected) => {
  expect(issuesOf(schema, value)).toBe(expected);
});
