import { positionOfKey } from '../../../src/control/storage-keys.ts';
import type { CertificateRow } from '../../../src/node/confirmation/certificate-rows.ts';
import { rowsOf } from '../holdings.ts';
import type { Machine } from '../machine.ts';
import { certificateRoom, parsedText } from '../parsed-rows.ts';
import { acceptorStateOf } from './acceptor-rows.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';
import { ControlHistory, entryRoom, type StoredEntry } from './control-history.ts';
import { checkAnswers, checkState } from './control-state.ts';
import { RegisterLinks } from './register-links.ts';

/** How far the log on a machine's disk goes, and which disk that is. */
interface Tip {
  readonly disksBefore: number;
  readonly seq: number;
}

/**
 * Invariants 5 and 10 over the control log: an entry is certified by those who voted before it, there is one at each
 * position, the coordinators change one at a time and each time only when everything was carried over, and every node's log
 * is a beginning of that one log, comes to what it comes to, and never gets shorter. What an administrator was told is true
 * in the end on every node: what was committed is there, what was refused is not.
 *
 * Excepted, as with confirmed heads, is what too few knew of after disks were exchanged.
 */
export const control: CheckerFactory = {
  name: 'control',
  create: (world) => {
    const history = ControlHistory.of(world);
    const links = new RegisterLinks(world, history);
    const tips = new Map<string, Tip>();
    const take = (machine: Machine, stored: StoredEntry, violate: Violate): void => {
      const { seq, certified, fault } = stored;
      if (fault !== undefined) violate(`${machine.name} stored entry ${seq}, which does not hold: ${fault}`);
      if (fault !== undefined) return;
      checkOrder(tips, { machine, seq }, violate);
      if (certified === undefined) return;
      const taken = links.take(certified.certificate, machine);
      if (taken.kind === 'lost') history.isForked = true;
      if (history.isForked) return;
      if (taken.kind === 'fault') violate(taken.message);
      else if (stored.isRival) violate(`${machine.name} stored another entry ${seq} than there was`);
      else if (taken.kind === 'first') checkCarried(world, history, seq, violate);
    };
    return {
      committed: (commit, violate) => {
        for (const stored of history.stored(commit)) take(commit.machine, stored, violate);
      },
      ended: (machine, violate) => {
        links.reconsider(machine);
        const before = tips.get(machine.name);
        const seq = lastOn(machine);
        tips.set(machine.name, { disksBefore: machine.disksBefore, seq });
        if (before?.disksBefore !== machine.disksBefore) return;
        const shown = shownBy(machine);
        // The genesis is known before anything is on the disk, which may fail then.
        if (shown > 0 && seq < shown) violate(`${machine.name} showed entry ${shown}, and has ${seq} after its end`);
      },
      quiet: async (violate) => {
        if (history.isForked) return;
        const last = lastSeq(world, history);
        for (const machine of world.machines.values()) {
          const state = history.stateAt(lastOn(machine));
          if (state?.seq !== last) violate(`${machine.name} has ${lastOn(machine)} entries, and there are ${last}`);
          else await checkState(machine, { history, state, genesisText: world.genesisText }, violate);
        }
        checkAnswers(world.ledger.changes, history, violate);
      },
    };
  },
};

/** Entries are appended, one by one, and never written again. */
function checkOrder(
  tips: Map<string, Tip>,
  { machine, seq }: { readonly machine: Machine; readonly seq: number },
  violate: Violate,
): void {
  const { disksBefore } = machine;
  const known = tips.get(machine.name);
  const before = known?.disksBefore === disksBefore ? known.seq : -1;
  // A disk that was exchanged was looked at then.
  if (seq !== before + 1) violate(`${machine.name} stored entry ${seq} after entry ${before}`);
  tips.set(machine.name, { disksBefore, seq });
}

/**
 * An entry that changes who votes comes only after the carry-over to those who voted before it: of every object that anybody
 * has a certificate of, a majority of them has accepted in that epoch.
 */
function checkCarried(world: World, history: ControlHistory, seq: number, violate: Violate): void {
  const before = history.stateAt(seq - 1);
  if (before === undefined || history.stateAt(seq)?.epoch === before.epoch) return;
  const voters = history.votersOf(before.epoch) ?? [];
  const machines = [...world.machines.values()].filter(({ member }) =>
    voters.some(({ nodeId }) => nodeId === member.nodeId),
  );
  // What was on a disk that was exchanged may have been carried all the same.
  if (machines.some(({ hadAnotherDisk }) => hadAnotherDisk)) return;
  for (const register of certifiedRegisters(world)) {
    const carried = machines.filter(({ kv }) => (acceptorStateOf(kv, register).accepted?.epoch ?? 0) >= before.epoch);
    if (carried.length * 2 > voters.length) continue;
    violate(
      `entry ${seq} ends epoch ${before.epoch}, to which ${carried.length} of ${voters.length} had carried ${register}`,
    );
  }
}

function certifiedRegisters(world: World): Set<string> {
  const registers = new Set<string>();
  for (const { kv } of world.machines.values()) {
    for (const [, row] of rowsOf(kv, certificateRoom))
      registers.add(parsedText<CertificateRow>(row).latest.statement.register);
  }
  return registers;
}

/** The position of the last entry on a disk; -1 before the genesis. */
function lastOn({ kv }: Machine): number {
  const room = { start: Uint8Array.of(entryRoom), end: Uint8Array.of(entryRoom + 1) };
  for (const [key] of kv.range({ ...room, reverse: true, limit: 1 })) return positionOfKey(key);
  return -1;
}

/** How far the log went that a process showed until it ended; 0 for one that had not opened it yet. */
function shownBy({ process }: Machine): number {
  try {
    return (process?.node.cluster.checkpoint().size ?? 1) - 1;
  } catch {
    return 0;
  }
}

/** Where the log ends: what was nowhere but on disks that were exchanged is gone. */
function lastSeq(world: World, history: ControlHistory): number {
  const machines = [...world.machines.values()];
  if (!machines.some(({ hadAnotherDisk }) => hadAnotherDisk)) return history.state.seq;
  return Math.max(...machines.map(lastOn));
}
