import type { PeerId } from '../../crdt/ids.ts';
import type { Log } from '../../src/ports/log.ts';
import { bytesOf, enclosedBytesMax } from './messages.ts';
import type { Enclosed, EnclosedHead, RegisterKind, TakenIn } from './register-kind.ts';

/** A part of a request that something may be enclosed with. */
export interface EnclosingItem {
  readonly register: string;
  readonly head?: string | undefined;
  readonly enclosed?: Enclosed | undefined;
}

/** What is enclosed with a head, as a part of the message's item: nothing when there is nothing, or too much. */
export function enclosureOf(
  register: string,
  head: string,
  kindOf: (register: string) => RegisterKind,
): { readonly enclosed?: Uint8Array[] } {
  const enclosed = kindOf(register).enclose?.(head);
  if (enclosed === undefined || enclosed.length === 0 || bytesOf(enclosed) > enclosedBytesMax) return {};
  return { enclosed: [...enclosed] };
}

/**
 * Takes in what came with a message's items, those of a kind together, so that they share verification and flush. Neither
 * this nor `flushed` ever rejects: what is not here afterwards is asked for, or not voted for.
 */
export async function takeInEnclosed(
  items: readonly EnclosingItem[],
  from: PeerId,
  dependencies: { readonly kindOf: (register: string) => RegisterKind; readonly log: Log },
): Promise<TakenIn> {
  const byKind = new Map<RegisterKind, EnclosedHead[]>();
  for (const { register, head, enclosed } of items) {
    if (head === undefined || enclosed === undefined) continue;
    const kind = dependencies.kindOf(register);
    const heads = byKind.get(kind);
    if (heads === undefined) byKind.set(kind, [{ head, enclosed }]);
    else heads.push({ head, enclosed });
  }
  if (byKind.size === 0) return nothing;
  const notTakenIn = (error: unknown): void => dependencies.log.warn('quorum:not_taken_in', { from, error });
  const taken = await Promise.all(
    [...byKind].map(async ([kind, each]): Promise<TakenIn> => {
      try {
        const { heads, flushed } = (await kind.takeIn?.(each, from)) ?? nothing;
        return { heads, flushed: flushed.catch(notTakenIn) };
      } catch (error) {
        notTakenIn(error);
        return nothing;
      }
    }),
  );
  return {
    heads: new Set(taken.flatMap(({ heads }) => [...heads])),
    flushed: Promise.all(taken.map(({ flushed }) => flushed)).then(() => undefined),
  };
}

const nothing: TakenIn = { heads: new Set(), flushed: Promise.resolve() };
