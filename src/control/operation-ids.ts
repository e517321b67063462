import type { ControlOperation } from '../../crdt/control/operations.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import type { Random } from '../ports/random.ts';

/** An operation as an administrator asks for it: its id is the service's to give. */
export type AskedOperation = ControlOperation extends infer Each
  ? Each extends ControlOperation
    ? Omit<Each, 'id'>
    : never
  : never;

const idBytes = 16;

/** A fresh operation id: 128 bits, which nobody draws twice. */
export function drawOperationId(random: Random): string {
  return toBase32(random.bytes(idBytes));
}

/**
 * The operations under one id: the first has it, and the others' follow from it, so that the same call made again
 * gives the same ids.
 */
export function identified(operations: readonly AskedOperation[], id: string): readonly ControlOperation[] {
  return operations.map(
    (operation, at) => ({ ...operation, id: at === 0 ? id : derivedId(id, at) }) as ControlOperation,
  );
}

function derivedId(id: string, at: number): string {
  return toBase32(blake3(Buffer.from(`${id}/${at}`, 'utf8')).subarray(0, idBytes));
}
