import type { BlobHash, NodeId, PeerId } from '../../crdt/ids.ts';
import type { ReplicaClient } from '../../protocols/replicas/client.ts';
import type {
  AuditState,
  DrainView,
  PlannedView,
  PlanPlace,
  PreviewQuestion,
  PreviewView,
  StandingView,
  ViewSource,
} from '../../protocols/replicas/views.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { type GatheredCopy, mergeCopies, mergeDrains, mergePlans } from './mesh-merge.ts';
import type { Purpose, ReplicaPeers } from './replica-peers.ts';

/** What coordinators answered, and those that did not. */
export interface Gathered<Answer> {
  readonly answers: readonly { readonly nodeId: NodeId; readonly answer: Answer }[];
  readonly unanswered: readonly NodeId[];
}

/** Pulls of all plans together, in their order. */
export interface GatheredPlan {
  readonly pulls: readonly PlannedView[];
  /** There may be more after the last of them. */
  readonly isMore: boolean;
  readonly unanswered: readonly NodeId[];
}

/** What drains from a node, as all see it who can tell. */
export interface GatheredDrain {
  /** The most that remains by anybody's account; undefined when nobody could tell. */
  readonly progress: DrainView | undefined;
  /** Writes that were made at the node and are not all proved elsewhere; undefined when it does not answer. */
  readonly intents: number | undefined;
  readonly unanswered: readonly NodeId[];
}

interface Member {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
}

export interface MeshViewDependencies {
  readonly peers: Pick<ReplicaPeers, 'ask'>;
  /** What this node itself answers. */
  readonly own: ViewSource;
  readonly coordinators: () => readonly Member[];
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  readonly self: Member;
  readonly log: Log;
}

/** A question as a coordinator elsewhere is asked, and as this node answers it. */
interface Question<Answer> {
  readonly purpose: Purpose;
  readonly ask: (client: ReplicaClient) => Promise<Answer | undefined>;
  readonly own: (source: ViewSource, self: PeerId) => Promise<Answer | undefined> | Answer | undefined;
}

/**
 * Replication in the whole mesh, asked at any node. Each coordinator audits some of the slots and sees proofs of its own,
 * so all of them are asked, at once and for a bounded time; who does not answer is named, and what it alone knew is
 * missing from the answer.
 */
export class MeshView {
  readonly #dependencies: MeshViewDependencies;

  constructor(dependencies: MeshViewDependencies) {
    this.#dependencies = dependencies;
  }

  /** How replication stands at each coordinator. */
  status(): Promise<Gathered<StandingView>> {
    return this.#askAll({
      purpose: 'view',
      ask: async (client) => asCoordinator(await client.status()),
      own: (source, self) => asCoordinator(source.status(self)),
    });
  }

  /** How replication stands here. */
  here(): StandingView {
    const { own, self } = this.#dependencies;
    return own.status(self.peerId);
  }

  /** What is to be done, by all plans, after a place in them. */
  async plan(limit: number, after?: PlanPlace): Promise<GatheredPlan> {
    const { answers, unanswered } = await this.#askAll<{ pulls: readonly PlannedView[]; isMore: boolean }>({
      purpose: 'view',
      ask: (client) => planOf((from) => client.plan(from), limit, after),
      own: (source, self) => planOf(async (from) => source.plan(self, from), limit, after),
    });
    return {
      ...mergePlans(
        answers.map(({ answer }) => answer),
        limit,
      ),
      unanswered,
    };
  }

  /** Has every coordinator audit its slots; resolves once all have, or after the wait. */
  audit(waitMs: number): Promise<Gathered<NonNullable<AuditState>>> {
    return this.#askAll({
      purpose: 'audit',
      ask: async (client) => (await client.audit(waitMs)) ?? undefined,
      own: async (source, self) => (await source.audit(self, waitMs)) ?? undefined,
    });
  }

  /** The copies of contents that anybody knows of, one list for each. At most `manifestsMax` at once. */
  async copies(
    manifests: readonly BlobHash[],
  ): Promise<{ readonly copies: readonly (readonly GatheredCopy[])[]; readonly unanswered: readonly NodeId[] }> {
    const { answers, unanswered } = await this.#askAll({
      purpose: 'view',
      ask: (client) => client.copies(manifests),
      own: (source, self) => source.copies(self, manifests),
    });
    const copies = manifests.map((_, at) => mergeCopies(answers.map(({ answer }) => answer[at] ?? [])));
    return { copies, unanswered };
  }

  /** How far a node that drains has come: by the account of whoever is the most cautious. */
  async drain(node: NodeId): Promise<GatheredDrain> {
    const [{ answers, unanswered }, standing] = await Promise.all([
      this.#askAll({
        purpose: 'survey',
        ask: (client) => client.drain(node),
        own: (source, self) => source.drain(self, node),
      }),
      this.#standingOf(node),
    ]);
    return {
      progress: mergeDrains(answers.map(({ answer }) => answer)),
      intents: standing?.intents,
      unanswered: standing === undefined && !unanswered.includes(node) ? [...unanswered, node] : unanswered,
    };
  }

  /** A page of what a change would move, by the first coordinator that answers; undefined when none does. */
  async preview(question: PreviewQuestion): Promise<PreviewView | undefined> {
    const { coordinators, self } = this.#dependencies;
    const first = coordinators().filter(({ nodeId }) => nodeId === self.nodeId);
    const others = coordinators().filter(({ nodeId }) => nodeId !== self.nodeId);
    for (const member of [...first, ...others]) {
      const page = await this.#askOne(member, {
        purpose: 'survey',
        ask: (client) => client.preview(question),
        own: (source, peer) => source.preview(peer, question),
      });
      if (page !== undefined) return page;
    }
    return undefined;
  }

  #standingOf(node: NodeId): Promise<StandingView | undefined> {
    const peerId = this.#dependencies.peerOf(node);
    if (peerId === undefined) return Promise.resolve(undefined);
    return this.#askOne(
      { nodeId: node, peerId },
      { purpose: 'view', ask: (client) => client.status(), own: (source, self) => source.status(self) },
    );
  }

  async #askAll<Answer>(question: Question<Answer>): Promise<Gathered<Answer>> {
    const members = this.#dependencies.coordinators();
    const asked = await Promise.all(
      members.map(async (member) => ({ nodeId: member.nodeId, answer: await this.#askOne(member, question) })),
    );
    return {
      answers: asked.flatMap(({ nodeId, answer }) => (answer === undefined ? [] : [{ nodeId, answer }])),
      unanswered: asked.filter(({ answer }) => answer === undefined).map(({ nodeId }) => nodeId),
    };
  }

  /** Undefined when it does not answer, or cannot tell. */
  async #askOne<Answer>({ nodeId, peerId }: Member, { purpose, ask, own }: Question<Answer>) {
    const { peers, own: source, self, log } = this.#dependencies;
    if (nodeId === self.nodeId) return own(source, self.peerId);
    try {
      return await peers.ask(peerId, purpose, ask);
    } catch (error) {
      if (error instanceof MeshError && error.code === 'shutting_down') throw error;
      log.debug('replication:unanswered', { node: nodeId, purpose, error });
      return undefined;
    }
  }
}

function asCoordinator(view: StandingView): StandingView | undefined {
  return view.auditor === null ? undefined : view;
}

/** As many pulls as are asked for, in as many questions as that takes. */
async function planOf(
  ask: (after: PlanPlace | undefined) => Promise<{ pulls: readonly PlannedView[]; isMore: boolean } | undefined>,
  limit: number,
  after: PlanPlace | undefined,
): Promise<{ pulls: readonly PlannedView[]; isMore: boolean } | undefined> {
  const pulls: PlannedView[] = [];
  for (;;) {
    const page = await ask(pulls.at(-1) ?? after);
    if (page === undefined) return undefined;
    pulls.push(...page.pulls);
    if (!page.isMore || page.pulls.length === 0) return { pulls, isMore: false };
    if (pulls.length >= limit) return { pulls, isMore: true };
  }
}
