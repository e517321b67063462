import type { Certificate } from '../../../crdt/certificate.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import { type AcceptorState, emptyAcceptorState } from '../../../crdt/quorum/acceptor.ts';
import { compareBallots } from '../../../crdt/quorum/ballot.ts';
import type { CertificateRow } from '../../../src/node/confirmation/certificate-rows.ts';
import type { Machine } from '../machine.ts';
import { certificateRoom, parsedRow } from '../parsed-rows.ts';
import {
  acceptorStateOf,
  acceptorStatesOf,
  compareRounds,
  knowsOf,
  type Round,
  registerOfKey,
  roundText,
  voteRoom,
  voterRoom,
  voterRowOf,
} from './acceptor-rows.ts';
import type { CheckerFactory, Commit, Violate, World } from './checker.ts';
import { ControlHistory } from './control-history.ts';
import { CopiedVotes } from './copied-votes.ts';

/** What is known of a coordinator's memory on the disk it has now. */
interface Memory {
  readonly disksBefore: number;
  readonly states: Map<string, AcceptorState>;
  /** The latest round of each register that a certificate says it has accepted in. */
  readonly signed: Map<string, Round>;
  sequence: number;
  epoch: number;
}

/**
 * What confirmed heads and the control log rest on: a coordinator does not forget. On one disk promises, votes, epochs and
 * vote sequences only grow, and whoever signed a round still has that vote, or a later one, when the power comes back. On the
 * votes of another directory nobody votes any more.
 */
export const votes: CheckerFactory = {
  name: 'votes',
  create: (world) => {
    const history = ControlHistory.of(world);
    const copied = CopiedVotes.of(world);
    const memories = new Map<string, Memory>();
    const rounds = new Set<string>();
    const memoryOf = (machine: Machine): Memory => {
      const known = memories.get(machine.name);
      if (known?.disksBefore === machine.disksBefore) return known;
      const memory = memoryOn(machine);
      memories.set(machine.name, memory);
      return memory;
    };
    return {
      committed: (commit, violate) => {
        const { machine, keys } = commit;
        for (const key of keys) {
          if (key[0] === voterRoom) checkVoter(memoryOf(machine), machine, violate);
          if (key[0] !== voteRoom) continue;
          const register = registerOfKey(key);
          if (copied.areOn(machine)) violate(`${machine.name} votes in ${register} on the votes of another directory`);
          checkVote(memoryOf(machine), machine, register, violate);
        }
        for (const { statement, signatures } of certificatesIn(commit, history)) {
          for (const [signer] of signatures) {
            const name = `${statement.register} ${roundText(statement)} ${signer}`;
            if (rounds.has(name)) continue;
            checkSigner(world, { signer, statement }, violate);
            // Its own vote and the certificate may be of one transaction, which a power loss takes as a whole.
            if (signer === machine.member.nodeId) continue;
            noteSigner(world, { signer, statement }, memoryOf);
            rounds.add(name);
          }
        }
      },
      ended: (machine, violate) => {
        copied.look();
        const before = memories.get(machine.name);
        if (before === undefined) return;
        const memory = memoryOn(machine);
        memories.set(machine.name, memory);
        if (before.disksBefore !== machine.disksBefore) return;
        for (const [register, round] of before.signed) {
          if (knowsOf(machine, register, round)) memory.signed.set(register, round);
          else
            violate(`${machine.name} has lost its vote of round ${roundText(round)} of ${register}, which it signed`);
        }
      },
    };
  },
};

/** The certificates that a transaction wrote: of objects, and beside entries of the control log. */
function* certificatesIn(commit: Commit, history: ControlHistory): Generator<Certificate> {
  for (const key of commit.keys) {
    if (key[0] !== certificateRoom) continue;
    const row = parsedRow<CertificateRow>(commit.store, key);
    if (row !== undefined) yield row.latest;
  }
  for (const { certified } of history.stored(commit)) if (certified !== undefined) yield certified.certificate;
}

interface Signed {
  readonly signer: NodeId;
  readonly statement: Certificate['statement'];
}

/** A signature says that the vote is on disk: one that is not there was given before its time, or its disk was exchanged. */
function checkSigner(world: World, { signer, statement }: Signed, violate: Violate): void {
  const machine = machineOf(world, signer);
  if (machine === undefined || machine.hadAnotherDisk || knowsOf(machine, statement.register, statement)) return;
  violate(`${machine.name} signed round ${roundText(statement)} of ${statement.register} and has no such vote`);
}

/** Another node has the signature: from here on a power loss leaves the vote. */
function noteSigner(world: World, { signer, statement }: Signed, memoryOf: (machine: Machine) => Memory): void {
  const machine = machineOf(world, signer);
  if (machine === undefined || !knowsOf(machine, statement.register, statement)) return;
  const { signed } = memoryOf(machine);
  const last = signed.get(statement.register);
  if (last === undefined || compareRounds(statement, last) > 0) signed.set(statement.register, statement);
}

function machineOf(world: World, signer: NodeId): Machine | undefined {
  return world.machines.values().find(({ member }) => member.nodeId === signer);
}

function checkVoter(memory: Memory, machine: Machine, violate: Violate): void {
  const { sequence = 0, epoch = 0 } = voterRowOf(machine.kv) ?? {};
  if (sequence < memory.sequence) violate(`${machine.name} counts votes back from ${memory.sequence} to ${sequence}`);
  if (epoch < memory.epoch) violate(`${machine.name} went back from epoch ${memory.epoch} to ${epoch}`);
  Object.assign(memory, { sequence, epoch });
}

function checkVote(memory: Memory, machine: Machine, register: string, violate: Violate): void {
  const before = memory.states.get(register) ?? emptyAcceptorState;
  const now = acceptorStateOf(machine.kv, register);
  memory.states.set(register, now);
  if (before.promised !== null && (now.promised === null || compareBallots(now.promised, before.promised) < 0)) {
    violate(`${machine.name} took back what it had promised in ${register}`);
  }
  if (before.accepted !== null && (now.accepted === null || compareRounds(now.accepted, before.accepted) < 0)) {
    violate(`${machine.name} took back what it had accepted in ${register}`);
  }
}

function memoryOn(machine: Machine): Memory {
  const { sequence = 0, epoch = 0 } = voterRowOf(machine.kv) ?? {};
  const states = new Map(acceptorStatesOf(machine.kv));
  return { disksBefore: machine.disksBefore, states, signed: new Map(), sequence, epoch };
}
