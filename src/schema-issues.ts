import type { z } from 'zod';

/** What input from outside is refused with, in this project's words: zod's own are those of its types, for programmers. */

type Issue = Parameters<z.core.$ZodErrorMap>[0];

/** An option of `safeParse` for what a person sees the issues of. A schema's own message, where it has one, still goes first. */
export const worded: { readonly error: z.core.$ZodErrorMap } = { error: (issue) => wordsOf(issue) };

/** The issues as one sentence each. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      if (issue.code === 'unrecognized_keys') return `Unknown: ${issue.keys.map((key) => `"${key}"`).join(', ')}.`;
      return issue.path.length === 0 ? `${issue.message}.` : `"${issue.path.join('.')}": ${issue.message}.`;
    })
    .join(' ');
}

const typeWords: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function wordsOf(issue: Issue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return `${typeWords[issue.expected] ?? 'something else'} is expected`;
    case 'invalid_value':
      return `${issue.values.length > 1 ? 'one of ' : ''}${issue.values.join(', ')} is expected`;
    case 'too_small':
      return boundWords('at least', issue.minimum, issue);
    case 'too_big':
      return boundWords('at most', issue.maximum, issue);
    case 'unrecognized_keys':
      return `${issue.keys.map((key) => `"${key}"`).join(', ')} is not known`;
    case 'invalid_format':
      return issue.format === 'url' ? 'a URL is expected' : 'it does not have the form that is expected';
    case 'invalid_union':
      return 'this is none of what is expected';
    default:
      return undefined;
  }
}

const unitWords: Readonly<Record<string, string>> = { string: 'character', array: 'entry' };

function boundWords(which: string, bound: number | bigint, { origin }: { readonly origin: string }): string {
  const unit = unitWords[origin];
  if (unit === undefined) return `${which} ${bound} is expected`;
  const units = bound === 1 ? unit : unit === 'entry' ? 'entries' : `${unit}s`;
  return `${which} ${bound} ${units} ${bound === 1 ? 'is' : 'are'} expected`;
}
