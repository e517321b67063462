import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { checksMax } from '../../protocols/replicas/limits.ts';
import type { CheckOrder } from '../../protocols/replicas/server.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Random } from '../ports/random.ts';
import type { ContentShelf } from './proof-giver.ts';
import type { CopyRecord, ReplicaIndex } from './replica-index.ts';
import type { ReplicaPeers } from './replica-peers.ts';
import type { ProofResult, ProvedContent, ReplicaProver } from './replica-prover.ts';
import type { Subject } from './subject.ts';
import type { UnprovedCopies } from './unproved-copies.ts';

/**
 * Copies of one audit that are checked because nobody has ever seen a proof of them, drawn from those that count as not there
 * (which must not keep the others from being checked), and drawn from those that were proved.
 */
const unprovedMax = 8_192;
const suspectsMax = 4_096;
const drawnMax = 256;
/** Contents that are looked up in one turn of the event loop. */
const lookedAtPerTurnMax = 512;

/** How many checks came to what. */
export type CheckCounts = Readonly<Record<ProofResult, number>>;

export interface SpotCheckDependencies {
  readonly index: Pick<ReplicaIndex, 'note'>;
  readonly prover: ReplicaProver;
  readonly peers: ReplicaPeers;
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  /** Copies that were asked for and not proved. */
  readonly unproved: Pick<UnprovedCopies, 'failed' | 'answered'>;
  readonly kv: Kv;
  readonly shelf: ContentShelf;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
}

interface Check {
  readonly node: NodeId;
  readonly content: ProvedContent;
  /** The copy counts as not there already. */
  readonly isSuspect: boolean;
  /** Who could check it in this node's place. */
  readonly others: readonly NodeId[];
}

/** What the checks of one run have come to, and what ends them. */
interface Run {
  readonly counts: Record<ProofResult, number>;
  readonly signal: AbortSignal;
  /** Nodes that let a question pass: what else was to be asked of them in this run they have not proved either. */
  readonly silent: Set<NodeId>;
}

/**
 * Has copies proved: those that never were, and some drawn at random of the rest. What this node holds it checks itself;
 * otherwise another holder does, and when that one finds fault this node looks for itself, so that nobody is suspect on
 * another's word.
 */
export class SpotChecks {
  readonly #dependencies: SpotCheckDependencies;
  readonly #unproved: Check[] = [];
  readonly #suspects: Sample;
  readonly #drawn: Sample;
  #cleared = 0;
  #caught = 0;

  constructor(dependencies: SpotCheckDependencies) {
    this.#dependencies = dependencies;
    this.#suspects = new Sample(suspectsMax, dependencies.random);
    this.#drawn = new Sample(drawnMax, dependencies.random);
  }

  /** Offers the copies of a content that are online and not this node's own; those that were proved only if some are to be drawn. */
  offer({ manifest, sizeBytes }: Subject, copies: readonly CopyRecord[], drawsProved: boolean): void {
    for (const { nodeId, provedMs, isSuspect } of copies) {
      if (provedMs !== undefined && !drawsProved) continue;
      const others = copies.flatMap((copy) => (copy.nodeId === nodeId || copy.isSuspect ? [] : [copy.nodeId]));
      const check = { node: nodeId, content: { manifest, sizeBytes }, isSuspect, others };
      if (isSuspect) this.#suspects.offer(check);
      else if (provedMs !== undefined) this.#drawn.offer(check);
      else if (this.#unproved.length < unprovedMax) this.#unproved.push(check);
    }
  }

  /** Copies that counted as not there and were proved. */
  get cleared(): number {
    return this.#cleared;
  }

  /** Copies that counted as there and are not. */
  get caught(): number {
    return this.#caught;
  }

  /**
   * Makes the checks; resolves with what they came to. Ends early once the signal is aborted: what was not checked is offered
   * to the next audit again. Never rejects but when the node stops.
   */
  async run(signal: AbortSignal): Promise<CheckCounts> {
    const counts: Record<ProofResult, number> = { proved: 0, lacking: 0, wrong: 0, unreachable: 0 };
    const run: Run = { counts, signal, silent: new Set() };
    // Suspects come last: a node that falls silent over them is asked for nothing else for a while.
    const checks = [...this.#unproved, ...this.#drawn.checks, ...this.#suspects.checks];
    const { here, elsewhere } = await this.#byPlace(checks);
    const own = Map.groupBy(here, ({ node }) => node);
    const byOthers = Map.groupBy(elsewhere, (check) => this.#checkerOf(check));
    await Promise.all([
      ...Array.from(own, async ([node, group]) => {
        for (const part of partsOf(group, signal)) await this.#checkOwn(node, part, run);
      }),
      ...Array.from(byOthers, async ([checker, group]) => {
        for (const part of partsOf(group, signal)) {
          // Whoever let its time pass would do so with the next part.
          if (!(await this.#haveChecked(checker, part, run))) break;
        }
      }),
    ]);
    return counts;
  }

  /** Those of contents that are here, and those of others; a few are looked at in each turn of the event loop. */
  async #byPlace(
    checks: readonly Check[],
  ): Promise<{ readonly here: readonly Check[]; readonly elsewhere: readonly Check[] }> {
    const { kv, shelf, clock } = this.#dependencies;
    const here: Check[] = [];
    const elsewhere: Check[] = [];
    for (const [index, check] of checks.entries()) {
      if (index > 0 && index % lookedAtPerTurnMax === 0) await clock.sleep(0);
      (shelf.sizeOf(kv, check.content.manifest) === undefined ? elsewhere : here).push(check);
    }
    return { here, elsewhere };
  }

  /** Another holder that can be reached; without one the node itself, which is then looked at. */
  #checkerOf({ node, others }: Check): NodeId {
    const { peers, peerOf, random } = this.#dependencies;
    const reachable = others.filter((other) => {
      const peer = peerOf(other);
      return peer !== undefined && peers.isConnected(peer);
    });
    return reachable[Math.floor(random.fraction() * reachable.length)] ?? node;
  }

  async #checkOwn(node: NodeId, checks: readonly Check[], run: Run): Promise<void> {
    const contents = checks.map(({ content }) => content);
    const proofs = await this.#dependencies.prover.sample(node, contents, run.signal);
    for (const [index, { result, why }] of proofs.entries()) {
      if (why === 'late') run.silent.add(node);
      this.#note(checks[index] as Check, result, run, why !== 'not_asked' || run.silent.has(node));
    }
  }

  /** False when the checker did not answer in time. */
  async #haveChecked(checker: NodeId, checks: readonly Check[], run: Run): Promise<boolean> {
    const { clock, log } = this.#dependencies;
    const results = await this.#ask(checker, checks, run.signal);
    for (const [index, check] of checks.entries()) {
      const told = results?.[index] ?? 'unreachable';
      if (told !== 'wrong' && told !== 'lacking') {
        this.#note(check, told, run, results?.[index] !== undefined);
        continue;
      }
      const [look] = await this.#dependencies.prover.sample(check.node, [check.content], run.signal);
      const seen = look?.result ?? 'unreachable';
      if (seen === 'proved')
        log.warn('checks:disagree', { checker, node: check.node, told, manifest: check.content.manifest });
      // Bytes that do not verify are not there; and what was caught with a false proof has answered falsely.
      this.#note(check, seen === 'lacking' ? told : seen, run, look?.why !== 'not_asked');
    }
    await clock.sleep(0);
    return results !== undefined;
  }

  /** What a checker says of each; undefined when it did not answer in time. */
  async #ask(
    checker: NodeId,
    checks: readonly Check[],
    signal: AbortSignal,
  ): Promise<readonly ProofResult[] | undefined> {
    const { peers, peerOf, prover, log } = this.#dependencies;
    const peer = peerOf(checker);
    if (peer === undefined) return [];
    const itself = checks.filter(({ node }) => node === checker);
    const orders = checks.flatMap(({ node, content }): CheckOrder[] => {
      const points = prover.drawPoints(content);
      return node === checker ? [] : [{ manifest: content.manifest, node, points: points.length === 0 ? [0] : points }];
    });
    const itsContents = itself.map(({ content }) => content);
    const looked = await prover.sample(checker, itsContents, signal);
    try {
      const told =
        orders.length === 0 ? [] : await peers.ask(peer, 'check', (client) => client.check(orders), { signal });
      const [next, nextLook] = [told.values(), looked.values()];
      return checks.map(({ node }) =>
        node === checker ? (nextLook.next().value?.result ?? 'unreachable') : (next.next().value ?? 'unreachable'),
      );
    } catch (error) {
      const code = error instanceof MeshError ? error.code : undefined;
      if (code === 'shutting_down') throw error;
      log.debug('checks:not_made', { checker, error });
      return code === 'timeout' ? undefined : [];
    }
  }

  /** `isOfNode` says that the node was asked, by whomever, and not just that nobody could ask it. */
  #note({ node, content, isSuspect }: Check, result: ProofResult, { counts, signal }: Run, isOfNode: boolean): void {
    const { index, unproved } = this.#dependencies;
    // What was broken off says nothing of the node.
    if (result === 'unreachable' && signal.aborted) return;
    counts[result] += 1;
    if (result !== 'unreachable') {
      index.note(node, content.manifest, result);
      unproved.answered(node, content.manifest);
      if (isSuspect && result === 'proved') this.#cleared += 1;
      if (!isSuspect && result !== 'proved') this.#caught += 1;
    } else if (isOfNode && !isSuspect) unproved.failed(node, content);
  }
}

/** Some of the checks that are offered, each with the same probability. */
class Sample {
  readonly checks: Check[] = [];
  readonly #max: number;
  readonly #random: Random;
  #seen = 0;

  constructor(max: number, random: Random) {
    this.#max = max;
    this.#random = random;
  }

  offer(check: Check): void {
    this.#seen += 1;
    if (this.checks.length < this.#max) {
      this.checks.push(check);
      return;
    }
    const at = Math.floor(this.#random.fraction() * this.#seen);
    if (at < this.#max) this.checks[at] = check;
  }
}

/** The checks of one message at a time, until they are to end. */
function* partsOf(checks: readonly Check[], signal: AbortSignal): Generator<readonly Check[]> {
  for (let start = 0; start < checks.length && !signal.aborted; start += checksMax) {
    yield checks.slice(start, start + checksMax);
  }
}
