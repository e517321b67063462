import { err } from '../../crdt/ids.ts';
import type { Refusal, RefusalCode } from './api.ts';

/** A refusal as a failed outcome. */
export function refuse(
  code: RefusalCode,
  message: string,
  detail?: Readonly<Record<string, unknown>>,
): { readonly ok: false; readonly error: Refusal } {
  return err(detail === undefined ? { code, message } : { code, message, detail });
}
