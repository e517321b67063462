import { type Certificate, isSameValue, linkHash, type RegisterValue } from '../../../crdt/certificate.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import type { Machine } from '../machine.ts';
import { knowsOf, type Round, roundText, voterRowOf } from './acceptor-rows.ts';
import type { World } from './checker.ts';
import type { ControlHistory } from './control-history.ts';
import { CopiedVotes } from './copied-votes.ts';

/** A link of a register's chain, as the first certificate of it said. */
interface Link {
  readonly value: RegisterValue;
  /** The first round that it was certified in: who has accepted in this one or a later one knows of it. */
  readonly first: Round;
  /** A certificate that is stored once more is of no new round. */
  readonly rounds: Set<string>;
  /** So few knew of it at some time, since disks were exchanged or the power took it, that others could choose something else. */
  isLost: boolean;
  /** The one node that has stored a certificate of it, when its own vote is one of those it counts; undefined once others have. */
  onlyOn: Machine | undefined;
}

/** What a certificate is to the links that are known. */
export type Taken =
  | { readonly kind: 'known' }
  | { readonly kind: 'first'; readonly before: RegisterValue | undefined }
  /** It contradicts a link that was lost: from here on this register's chain may have any shape. */
  | { readonly kind: 'lost' }
  | { readonly kind: 'fault'; readonly message: string };

/**
 * The chain of each register as the certificates say that any node ever stored: no two of one register and position with
 * different values, each link on the one before.
 *
 * Excepted is a link that was lost. A majority has accepted it, and every other majority has a member of that one, so it is
 * found and kept as long as not so many forget it that a majority of the coordinators is left without anyone who knows of it.
 * Who knows of it is read off the disks, at each moment at which one of them has less than before.
 */
export class RegisterLinks {
  readonly #world: World;
  readonly #history: ControlHistory;
  readonly #copied: CopiedVotes;
  readonly #chains = new Map<string, Map<number, Link>>();
  readonly #lost = new Set<string>();

  constructor(world: World, history: ControlHistory) {
    this.#world = world;
    this.#history = history;
    this.#copied = CopiedVotes.of(world);
  }

  registers(): Iterable<string> {
    return this.#chains.keys();
  }

  /** A node stored a certificate. */
  take({ statement, signatures }: Certificate, machine: Machine): Taken {
    const { register, epoch, ballot, position, head, previous } = statement;
    const value = { position, head, previous };
    if (this.#lost.has(register)) return { kind: 'known' };
    const chain = this.#chainOf(register);
    const known = chain.get(position);
    if (known === undefined) {
      const isOwn = signatures.some(([signer]) => signer === machine.member.nodeId);
      return this.#first(chain, register, { value, round: { epoch, ballot }, onlyOn: isOwn ? machine : undefined });
    }
    if (isSameValue(known.value, value)) {
      if (known.onlyOn !== machine) known.onlyOn = undefined;
      const round = roundText(statement);
      // A majority has accepted it anew, and knows of it again.
      if (!known.rounds.has(round)) known.isLost = !this.#isKnownToEnough(register, known);
      known.rounds.add(round);
      return { kind: 'known' };
    }
    if (known.isLost) {
      this.#lost.add(register);
      return { kind: 'lost' };
    }
    return {
      kind: 'fault',
      message: `position ${position} of ${register} has two heads: ${known.value.head} and ${head}`,
    };
  }

  /** Looks again who knows of each link. Called when a disk may have less than before, with the machine it belongs to. */
  reconsider(machine: Machine): void {
    this.#noteUnseen(machine);
    if (!this.#wasExchanged()) return;
    this.#copied.look();
    for (const [register, chain] of this.#chains) {
      // Who knows of a link knows of all before it.
      for (const link of [...chain.values()].toReversed()) {
        if (this.#isKnownToEnough(register, link)) break;
        link.isLost = true;
      }
    }
  }

  /**
   * A vote and the certificate that it completes may be of one transaction, which a power loss takes as a whole before anybody
   * else has seen either: then a majority never had the link.
   */
  #noteUnseen(machine: Machine): void {
    for (const [register, chain] of this.#chains) {
      for (const link of chain.values()) {
        if (link.onlyOn !== machine || knowsOf(machine, register, link.first)) continue;
        link.isLost ||= !this.#isKnownToMajorities(register, link);
      }
    }
  }

  #first(
    chain: Map<number, Link>,
    register: string,
    { value, round, onlyOn }: { value: RegisterValue; round: Round; onlyOn: Machine | undefined },
  ): Taken {
    const link: Link = { value, first: round, rounds: new Set([roundText(round)]), isLost: false, onlyOn };
    link.isLost = !this.#isKnownToEnough(register, link);
    chain.set(value.position, link);
    const before = chain.get(value.position - 1)?.value;
    if (value.position === 1) return { kind: 'first', before };
    if (before === undefined) {
      const message = `position ${value.position} of ${register} was certified before position ${value.position - 1}`;
      return { kind: 'fault', message };
    }
    if (value.previous === linkHash(this.#world.cluster, register, before)) return { kind: 'first', before };
    return { kind: 'fault', message: `position ${value.position} of ${register} does not name the value before it` };
  }

  #isKnownToEnough(register: string, link: Link): boolean {
    // A disk that nobody exchanged forgets nothing that counts, or is at fault.
    return !this.#wasExchanged() || this.#isKnownToMajorities(register, link);
  }

  /**
   * True while every majority of those who may still vote has somebody who knows of the link. Rounds of an epoch can end well
   * until everything was carried into the next one, and that is before the one after it begins.
   */
  #isKnownToMajorities(register: string, { first }: Link): boolean {
    const last = this.#history.state.epoch;
    return [last, last - 1].every((epoch) => {
      const voters = epoch < first.epoch ? undefined : this.#history.votersOf(epoch);
      if (voters === undefined) return true;
      const unaware = voters.filter(({ nodeId }) => this.#mayVoteUnaware(nodeId, register, first)).length;
      return unaware * 2 <= voters.length;
    });
  }

  /** True for a coordinator that does not know of a round, and that nothing on its disk keeps from voting. */
  #mayVoteUnaware(nodeId: NodeId, register: string, round: Round): boolean {
    const machine = this.#world.machines.values().find(({ member }) => member.nodeId === nodeId);
    if (machine === undefined) return true;
    // What it is told by others it may not have heard yet.
    if (this.#copied.areOn(machine) || voterRowOf(machine.kv)?.restored === true) return false;
    return !knowsOf(machine, register, round);
  }

  #wasExchanged(): boolean {
    return [...this.#world.machines.values()].some(({ hadAnotherDisk }) => hadAnotherDisk);
  }

  #chainOf(register: string): Map<number, Link> {
    const chain = this.#chains.get(register) ?? new Map<number, Link>();
    this.#chains.set(register, chain);
    return chain;
  }
}
