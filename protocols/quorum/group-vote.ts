import type { Statement } from '../../crdt/certificate.ts';
import type { VoteItem } from './messages.ts';

/** What a coordinator signs that accepts the item; undefined for one that asks for a promise alone. */
export function statementOf(item: VoteItem, epoch: number): Statement | undefined {
  if (item.t === 'prepare') return undefined;
  const { register, ballot, value } = item;
  return { v: 1, register, epoch, ...value, ballot };
}

interface Answer {
  readonly t: string;
  readonly signature?: Uint8Array | null;
}

/**
 * The one signature of a coordinator under all statements of a group, of which it has accepted every one: the batch's, or the
 * only one's.
 */
export function signatureUnderAll(answers: readonly Answer[], batch: Uint8Array | null): Uint8Array | undefined {
  return batch ?? answers.find(({ t }) => t === 'accepted')?.signature ?? undefined;
}
