import { isHash } from '../../crdt/digest.ts';
import { checkKey, checkNamespace } from '../../crdt/object-name.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import { CommandFailure, exitCodes, UsageError } from './errors.ts';

/** So few characters of a version id still tell thousands of versions apart. */
const idPrefixCharsMin = 4;

export interface ObjectName {
  readonly ns: string;
  readonly key: string;
}

/** `NS/KEY` as the user gave it. The key is everything after the first slash. */
export function parseObject(text: string): ObjectName {
  const slash = text.indexOf('/');
  if (slash === -1) throw new UsageError(`"${text}" names no object; write NAMESPACE/KEY, as in notes/plan.txt`);
  const ns = parseNamespace(text.slice(0, slash));
  const key = text.slice(slash + 1);
  const fault = checkKey(key);
  if (fault !== undefined) throw new UsageError(`"${text}" is not a valid object name: ${fault}`);
  return { ns, key };
}

export function parseNamespace(text: string): string {
  const fault = checkNamespace(text);
  if (fault !== undefined) throw new UsageError(`"${text}" is not a valid namespace: ${fault}`);
  return text;
}

/** Turns unambiguous beginnings of version ids into whole ids; a whole one is taken as it is. */
export async function wholeVersionIds(
  client: AnabranchClient,
  { ns, key }: ObjectName,
  texts: readonly string[],
  signal?: AbortSignal,
): Promise<string[]> {
  if (texts.every(isHash)) return [...texts];
  for (const text of texts) {
    if (!/^[a-z2-7]+$/.test(text) || text.length < idPrefixCharsMin) {
      throw new UsageError(
        `"${text}" is not a version id, nor the beginning of one (${idPrefixCharsMin} characters or more)`,
      );
    }
  }
  const { versions } = await client.graph(ns, key, signal);
  return texts.map((text) => {
    const [found, ...others] = versions.filter(({ version }) => version.startsWith(text));
    if (found === undefined) {
      throw new CommandFailure(`${ns}/${key} has no version that begins with "${text}"`, exitCodes.notFound);
    }
    if (others.length === 0) return found.version;
    throw new UsageError(`${others.length + 1} versions of ${ns}/${key} begin with "${text}"; give more of the id`);
  });
}

/** Ids separated by commas. */
export function splitIds(text: string): string[] {
  const ids = text.split(',').map((id) => id.trim());
  if (ids.some((id) => id === '')) throw new UsageError(`"${text}" is not a list of version ids separated by commas`);
  return ids;
}
