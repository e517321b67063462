import type { z } from 'zod';
import { describeIssues, worded } from '../schema-issues.ts';
import { HttpProblem } from './errors.ts';
import { decodePercent } from './percent.ts';

/**
 * What a request addresses. The router only chooses the handler, on its own half-decoded view of the path;
 * namespace, key and parameters are always read from the target as it was sent, segment by segment, so
 * `%2F`, `//`, `..` and `%2e%2e` inside a key are part of that key and nothing else.
 */

export interface ObjectTarget {
  readonly ns: string;
  readonly key: string;
}

/** Reads `/v1/<resource>/<ns>/<key…>`. A key may hold slashes, encoded or not: they are the same. */
export function objectTarget(url: string): ObjectTarget {
  const path = pathOf(url);
  const nsStart = afterSegments(path, 3);
  const nsEnd = path.indexOf('/', nsStart);
  const key = decodePercent(path.slice(nsEnd + 1));
  if (key === undefined) throw new HttpProblem('invalid_key', 'The key is not valid percent-encoded UTF-8.');
  return { ns: decodeNamespace(path.slice(nsStart, nsEnd)), key };
}

/** Reads `/v1/<resource>/<ns>`. */
export function namespaceTarget(url: string): string {
  const path = pathOf(url);
  return decodeNamespace(path.slice(afterSegments(path, 3)));
}

/** Reads the query. Refuses, by name, what `schema` does not know; so a misspelt parameter is never ignored. All parameters are optional. */
export function parametersOf<Schema extends z.ZodObject>(url: string, schema: Schema): Given<z.output<Schema>> {
  const start = url.indexOf('?');
  if (start === -1) return {} as Given<z.output<Schema>>;
  const result = schema.safeParse(parseQuery(url.slice(start + 1)), worded);
  if (result.success) return result.data as Given<z.output<Schema>>;
  const unknown = result.error.issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []));
  throw new HttpProblem('invalid_request', describeIssues(result.error), {
    extras: unknown.length > 0 ? { parameters: unknown } : {},
  });
}

/** A parameter is there or it is not; it is never there as undefined. */
type Given<Parameters> = { readonly [Name in keyof Parameters]: Exclude<Parameters[Name], undefined> };

function pathOf(url: string): string {
  const end = url.indexOf('?');
  const path = end === -1 ? url : url.slice(0, end);
  if (path.includes('#')) throw new HttpProblem('invalid_request', 'A "#" in a path must be sent as %23.');
  return path;
}

function afterSegments(path: string, count: number): number {
  let position = 0;
  for (let segment = 0; segment < count; segment++) position = path.indexOf('/', position) + 1;
  return position;
}

function decodeNamespace(text: string): string {
  const ns = decodePercent(text);
  if (ns === undefined) throw new HttpProblem('invalid_namespace', 'The namespace is not valid percent-encoded UTF-8.');
  return ns;
}

function parseQuery(text: string): Record<string, string> {
  const parameters: Record<string, string> = Object.create(null);
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decodePercent(plusAsSpace(equals === -1 ? pair : pair.slice(0, equals)));
    const value = decodePercent(plusAsSpace(equals === -1 ? '' : pair.slice(equals + 1)));
    if (name === undefined || value === undefined) {
      throw new HttpProblem('invalid_request', 'The query is not valid percent-encoded UTF-8.');
    }
    if (name in parameters) throw new HttpProblem('invalid_request', `The parameter "${name}" is given twice.`);
    parameters[name] = value;
  }
  return parameters;
}

const plusAsSpace = (text: string): string => text.replaceAll('+', ' ');
