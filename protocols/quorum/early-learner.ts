import {
  assembleCertificate,
  type Certificate,
  majorityOf,
  type Statement,
  verifyBatch,
  verifyStatement,
} from '../../crdt/certificate.ts';
import type { VoteBatch } from '../../crdt/vote-batch.ts';
import type { Coordinator, Outcome, QuorumView } from './register-kind.ts';

/** The votes of the one who asks and of the one who answers. */
const votesAtHand = 2;

type Confirmed = Extract<Outcome, { kind: 'confirmed' }>;

/** A coordinator's one signature under all that is to be accepted in a group: under its statement, or the batch of them. */
interface GroupVote {
  readonly coordinator: Coordinator;
  readonly signature: Uint8Array;
}

/** A group of which everything was accepted. */
export interface AcceptedGroup {
  readonly view: QuorumView;
  readonly statements: readonly Statement[];
  /** What the signatures are under; undefined for one statement alone. */
  readonly batch: VoteBatch | undefined;
  /** This node's vote. */
  readonly own: GroupVote;
  /** The proposer's, as it came with its question. */
  readonly told: GroupVote;
}

/** A head that another coordinator was asked to have confirmed. */
export interface Expectation {
  /** Resolves when the head is proved here, with its certificate durable; it may never be. */
  readonly learned: Promise<Confirmed>;
  /** Nobody waits any longer. */
  readonly end: () => void;
}

/** True where the vote of who asks and that of who answers are a majority, so that a question is worth a vote. */
export function learnsEarly({ coordinators }: QuorumView): boolean {
  return majorityOf(coordinators.length) <= votesAtHand;
}

/**
 * Learns that a head was chosen before its proposer does: the proposer's vote comes with its question, this node's own is the
 * second, and two are a majority of three. A certificate proves itself, whoever added the votes up. So who had asked for
 * it need not wait until the proposer has this node's vote, has flushed the certificate and sent it back.
 */
export class EarlyLearner {
  readonly #expected = new Map<string, Set<(outcome: Confirmed) => void>>();

  expect(register: string, head: string): Expectation {
    const { promise: learned, resolve } = Promise.withResolvers<Confirmed>();
    const key = keyOf({ register, head });
    const waiting = this.#expected.get(key) ?? new Set();
    this.#expected.set(key, waiting.add(resolve));
    const end = (): void => {
      waiting.delete(resolve);
      if (waiting.size === 0 && this.#expected.get(key) === waiting) this.#expected.delete(key);
    };
    return { learned, end };
  }

  /**
   * The certificates of heads that somebody waits for, when both votes are good. The proposer's is verified only when there
   * are any. They may be shown once this node's own vote is on disk.
   */
  certificates({ view, statements, batch, own, told }: AcceptedGroup): readonly Certificate[] {
    const isAwaited = statements.map((statement) => this.#expected.has(keyOf(statement)));
    if (!isAwaited.includes(true) || !learnsEarly(view)) return [];
    const [first] = statements as readonly [Statement, ...Statement[]];
    const { publicKey } = told.coordinator;
    const holds =
      batch === undefined
        ? verifyStatement(first, told.signature, publicKey, view.cluster)
        : verifyBatch(batch, told.signature, publicKey, view.cluster);
    if (!holds) return [];
    const signatures = [own, told].map(({ coordinator, signature }) => [coordinator.nodeId, signature] as const);
    return statements.flatMap((statement, at) =>
      isAwaited[at] ? assembleCertificate(statement, signatures, batch?.place(at)) : [],
    );
  }

  /** A certificate is durable here: whoever waits for its head need not any longer. */
  learned(certificate: Certificate): void {
    for (const resolve of this.#expected.get(keyOf(certificate.statement)) ?? []) {
      resolve({ kind: 'confirmed', certificate });
    }
  }
}

function keyOf({ register, head }: { readonly register: string; readonly head: string }): string {
  return `${register} ${head}`;
}
