import { HttpProblem } from './errors.ts';

/** Entity tags and what requests condition on them. An object's strong ETag is its version id in quotes. */

export const entityTag = (version: string): string => `"${version}"`;

/** True when `If-None-Match` names the version, weakly compared (RFC 9110, section 13.1.2). */
export function matchesNone(header: string | undefined, version: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((part) => {
    const tag = part.trim();
    return tag === '*' || (tag.startsWith('W/') ? tag.slice(2) : tag) === entityTag(version);
  });
}

/** True when a `Range` counts: there is no `If-Range`, or it is the version's strong tag. There are no dates to match. */
export function rangeApplies(ifRange: string | undefined, version: string): boolean {
  return ifRange === undefined || ifRange.trim() === entityTag(version);
}

const strongTag = /^"([^"]*)"$/;

/**
 * The parents a write names, by `?parents=a,b`, by `If-Match: "a"`, or by both when they agree.
 * Undefined for a blind write. Ids are passed on as given: the node knows what an id is.
 */
export function namedParents(
  parameter: string | undefined,
  ifMatch: string | undefined,
): readonly string[] | undefined {
  const listed = parameter === undefined ? undefined : parameter.split(',');
  if (listed?.includes('')) throw new HttpProblem('invalid_request', 'The parameter "parents" has an empty entry.');
  if (ifMatch === undefined) return listed;
  const tag = strongTag.exec(ifMatch.trim())?.[1];
  if (tag === undefined) {
    throw new HttpProblem('invalid_request', 'If-Match takes one version id in quotes; name several with ?parents=.');
  }
  if (listed?.some((parent) => parent !== tag)) {
    throw new HttpProblem('invalid_request', 'The parameter "parents" and If-Match name different versions.');
  }
  return [tag];
}
