import { beforeEach, describe, expect, test, vi } from 'vitest';
import {
  batchOf,
  type Certificate,
  type RegisterValue,
  type Statement,
  signBatch,
  signStatement,
  verifyCertificate,
} from '../../../crdt/certificate.ts';
import { proposeValue, type Round, resumeRound, takeAnswer } from '../../../crdt/quorum/proposer.ts';
import * as signatures from '../../../crdt/signature.ts';
import { CoordinatorLink } from '../../../protocols/quorum/coordinator-link.ts';
import type { QuorumRequest, QuorumResponse, VoteAnswer, VotesRequest } from '../../../protocols/quorum/messages.ts';
import type { Coordinator, QuorumView } from '../../../protocols/quorum/register-kind.ts';
import { VoteGroups } from '../../../protocols/quorum/vote-groups.ts';
import { VoteWatch } from '../../../protocols/quorum/vote-watch.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { coordinatorOf, headOf, registerOf } from '../../support/quorum-mesh.ts';
import { actorOf, testCluster, testNode } from '../../support/versions.ts';

vi.mock(import('../../../crdt/signature.ts'), async (importOriginal) => {
  const original = await importOriginal();
  return { ...original, verifySignature: vi.fn(original.verifySignature) };
});

const names = ['north', 'east', 'south'] as const;
const [north, east, south] = names;
const coordinators = names.map(coordinatorOf);
const own = coordinators[0] as Coordinator;
const next = { counter: 9, proposer: actorOf(testNode(north)) };

function viewOf(epoch: number): QuorumView {
  return { cluster: testCluster, epoch, coordinators, carried: true, logSeq: 1 };
}

type Answers = Extract<QuorumResponse, { t: 'votes' }>;

/** What a correct coordinator answers: it accepts everything but the registers in `outbid`. */
function answerOf(
  name: string,
  { epoch, items }: VotesRequest,
  outbid: ReadonlySet<string>,
): Omit<Answers, 'sequence'> {
  const { signer } = testNode(name);
  const statements = items.flatMap((item): Statement[] => {
    if (item.t === 'prepare') return [];
    return [{ v: 1, register: item.register, epoch, ...item.value, ballot: item.ballot }];
  });
  const isWhole = statements.length > 1 && statements.every(({ register }) => !outbid.has(register));
  const answers = items.map((item): VoteAnswer => {
    if (outbid.has(item.register)) return { t: 'outbid', promised: next };
    if (item.t === 'prepare') return { t: 'promised', accepted: null };
    const statement = statements.find(({ register }) => register === item.register) as Statement;
    return { t: 'accepted', signature: isWhole ? null : signStatement(statement, signer, testCluster) };
  });
  return { t: 'votes', answers, batch: isWhole ? signBatch(batchOf(statements), signer, testCluster) : null };
}

/** A coordinator at the other end of a link, and what it was asked. */
class FakeCoordinator {
  readonly name: string;
  readonly asked: VotesRequest[] = [];
  readonly outbid = new Set<string>();
  /** Changes what is answered, or makes it wait, or fail. */
  meddle: (answer: Omit<Answers, 'sequence'>) => Omit<Answers, 'sequence'> | Promise<Omit<Answers, 'sequence'>> = (
    answer,
  ) => answer;
  readonly link: CoordinatorLink;

  constructor(name: string) {
    this.name = name;
    const log = new MemoryLog();
    const store = { heardVotes: () => new Map(), transact: async () => undefined } as never;
    this.link = new CoordinatorLink(coordinatorOf(name), {
      ownSequence: () => 0,
      watch: new VoteWatch({ store, log }),
      log,
      exchange: (request) => this.#answer(request),
      laterEpoch: () => undefined,
    });
  }

  get groups(): number[] {
    return this.asked.map(({ items }) => items.length);
  }

  async #answer(request: QuorumRequest): Promise<QuorumResponse> {
    if (request.t !== 'votes') throw new Error('nothing else is asked');
    this.asked.push(request);
    const sequence = this.asked.length;
    return { ...(await this.meddle(answerOf(this.name, request, this.outbid))), sequence };
  }
}

let mesh: Record<(typeof names)[number], FakeCoordinator>;
let reachable: Set<string>;
let clock: VirtualClock;
let groups: VoteGroups;

beforeEach(() => {
  vi.mocked(signatures.verifySignature).mockClear();
  mesh = { north: new FakeCoordinator(north), east: new FakeCoordinator(east), south: new FakeCoordinator(south) };
  reachable = new Set(names);
  clock = new VirtualClock();
  groups = new VoteGroups({
    nodeId: own.nodeId,
    clock,
    linkTo: ({ nodeId }) => {
      const found = Object.values(mesh).find(({ link }) => link.coordinator.nodeId === nodeId);
      return found !== undefined && reachable.has(found.name) ? found.link : undefined;
    },
  });
});

const value = (name: string): RegisterValue => ({ position: 1, head: headOf(name), previous: null });

/** How a round is asked for; the preferred coordinator is east, beside north itself. */
interface VoteOptions {
  readonly ownFirst?: boolean;
  readonly epoch?: number;
  readonly enclosed?: Uint8Array[];
  readonly preferred?: (typeof names)[number] | null;
}

/** Runs the second phase of a register's round; resolves with how it ended. */
function vote(name: string, options: VoteOptions = {}): Promise<Round> {
  const view = viewOf(options.epoch ?? 1);
  const { ownFirst = false, preferred = east } = options;
  const ballot = { counter: ownFirst ? 0 : 1, proposer: actorOf(testNode(north)) };
  const settings = {
    register: registerOf(name),
    epoch: view.epoch,
    coordinators: coordinators.map(({ nodeId }) => nodeId),
    ballot,
  };
  return new Promise((resolve) => {
    let round: Round = proposeValue(resumeRound(settings, null), value(name), next);
    groups.ask({
      view,
      item: { t: 'accept', register: settings.register, ballot, value: value(name), next, enclosed: options.enclosed },
      ownFirst,
      preferred: preferred === null ? undefined : coordinatorOf(preferred).nodeId,
      take: (from, answer, check) => {
        round = takeAnswer(round, from, answer, check);
        if (round.phase !== 'accepting') resolve(round);
        return round.phase !== 'accepting';
      },
    });
  });
}

const all = (count: number, options: VoteOptions = {}): Promise<Round[]> =>
  Promise.all(Array.from({ length: count }, (_, at) => vote(`r${at}`, options)));

const endOf = (round: Round): string => (round.phase === 'failed' ? round.reason : round.phase);

function certificateOf(round: Round | undefined): Certificate {
  if (round?.phase !== 'chosen') throw new Error(`not chosen: ${JSON.stringify(round)}`);
  expect(verifyCertificate(round.certificate, { cluster: testCluster, coordinators })).toBe(true);
  return round.certificate;
}

const signersOf = (certificate: Certificate): string[] =>
  certificate.signatures.map(([nodeId]) => names.find((name) => coordinatorOf(name).nodeId === nodeId) as string);

const never = new Promise<never>(() => undefined);
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn += 1) await null;
};

describe('rounds asked in one turn', () => {
  test('go to a majority as one group, and each is proved by its place in it', async () => {
    const rounds = await all(5);
    await clock.advance(4_000);
    expect([mesh.north.groups, mesh.east.groups, mesh.south.groups]).toEqual([[5], [5], []]);
    const places = rounds.map((round) => certificateOf(round).batch);
    expect(places.map((place) => place?.index)).toEqual([0, 1, 2, 3, 4]);
    expect(places.every((place) => place?.size === 5)).toBe(true);
  });

  test('are proved by one signature a coordinator, verified once, and this node’s own not at all', async () => {
    const rounds = await all(100);
    expect(signatures.verifySignature).toHaveBeenCalledTimes(1);
    expect(new Set(rounds.map((round) => JSON.stringify(certificateOf(round).signatures))).size).toBe(1);
  });

  test('cost no verification of a coordinator that answers when all is decided', async () => {
    let answer = (): void => undefined;
    const later = new Promise<void>((resolve) => {
      answer = resolve;
    });
    mesh.east.meddle = (votes) => later.then(() => votes);
    const voted = all(3);
    await clock.advance(1_000);
    await voted;
    answer();
    await turns();
    expect([mesh.east.groups, mesh.south.groups]).toEqual([[3], [3]]);
    expect(signatures.verifySignature).toHaveBeenCalledTimes(1);
  });

  test('go apart when they are of different epochs, or of different manners', async () => {
    await Promise.all([vote('a'), vote('b', { epoch: 2 }), vote('c', { ownFirst: true }), vote('d'), vote('e')]);
    expect(mesh.east.asked.map(({ epoch, items }) => [epoch, items.length])).toEqual([
      [1, 3],
      [2, 1],
      [1, 1],
    ]);
  });

  test('go apart when others are best asked for them; those for which anybody will do go with the first', async () => {
    const options: VoteOptions[] = [{ preferred: null }, {}, { preferred: south }, { preferred: null }, {}];
    await Promise.all(options.map((each, at) => vote(`r${at}`, each)));
    const asked = (name: 'east' | 'south') =>
      mesh[name].asked.map(({ items }) => items.map(({ register }) => register));
    expect(asked(east)).toEqual([['r0', 'r1', 'r3', 'r4'].map(registerOf)]);
    expect(asked(south)).toEqual([[registerOf('r2')]]);
  });

  test('alone in a group is signed by itself', async () => {
    const certificate = certificateOf(await vote('a'));
    expect(certificate.batch).toBe(undefined);
  });
});

describe('a coordinator', () => {
  test('whose signature under the group does not hold loses its own votes only', async () => {
    mesh.east.meddle = (votes) => ({ ...votes, batch: new Uint8Array(64) });
    for (const round of await all(4)) expect(signersOf(certificateOf(round)).sort()).toEqual([north, south]);
  });

  test('that says it accepted and signs nothing loses its votes only', async () => {
    mesh.east.meddle = (votes) => ({ ...votes, batch: null });
    for (const round of await all(4)) expect(signersOf(certificateOf(round)).sort()).toEqual([north, south]);
  });

  test('that answers another number of votes, or fails, loses its votes only', async () => {
    mesh.east.meddle = (votes) => ({ ...votes, answers: votes.answers.slice(1) });
    mesh.south.meddle = () => Promise.reject(new Error('no'));
    expect((await all(3)).map(endOf)).toEqual(['silent', 'silent', 'silent']);
    mesh.south.meddle = (votes) => votes;
    for (const round of await all(3)) expect(signersOf(certificateOf(round)).sort()).toEqual([north, south]);
  });

  test('that cannot be reached is lost, and so is the round when a majority is', async () => {
    reachable.delete(south);
    for (const round of await all(3)) expect(signersOf(certificateOf(round)).sort()).toEqual([east, north]);
    reachable.delete(east);
    expect((await all(3)).map(endOf)).toEqual(['silent', 'silent', 'silent']);
  });

  test('that accepts a part signs each by itself, and the first majority of two forms ends the rounds as mixed', async () => {
    mesh.east.outbid.add(registerOf('r1'));
    expect((await all(3)).map(endOf)).toEqual(['mixed', 'outbid', 'mixed']);
  });

  test('that accepts a part spoils nothing when a majority has signed the whole', async () => {
    mesh.east.outbid.add(registerOf('r1'));
    mesh.east.meddle = (votes) => clock.sleep(500).then(() => votes);
    const voted = all(3);
    await clock.advance(1_000);
    for (const round of await voted) expect(certificateOf(round).batch?.size).toBe(3);
  });

  test('that accepts a part makes certificates with another that does', async () => {
    for (const name of [east, south] as const) mesh[name].outbid.add(registerOf('r1'));
    mesh.north.meddle = (votes) => clock.sleep(500).then(() => votes);
    const voted = all(3);
    await clock.advance(1_000);
    const rounds = await voted;
    expect(endOf(rounds[1] as Round)).toBe('outbid');
    for (const at of [0, 2]) {
      const certificate = certificateOf(rounds[at]);
      expect(certificate.batch).toBe(undefined);
      expect(signersOf(certificate).sort()).toEqual([east, south]);
    }
  });

  test('that does not vote is made up for at once by the next', async () => {
    mesh.east.meddle = () => Promise.reject(new Error('no'));
    for (const round of await all(3)) expect(signersOf(certificateOf(round)).sort()).toEqual([north, south]);
    expect(clock.monotonicMs()).toBe(0);
  });

  test('that takes long is made up for by the next, and asked last for a while', async () => {
    const heldBack: (() => void)[] = [];
    mesh.east.meddle = (votes) => new Promise((resolve) => heldBack.push(() => resolve(votes)));
    const voted = all(2);
    await clock.advance(240);
    expect(mesh.south.groups).toEqual([]);
    await clock.advance(20);
    for (const round of await voted) expect(signersOf(certificateOf(round)).sort()).toEqual([north, south]);
    for (const round of await all(2)) expect(signersOf(certificateOf(round)).sort()).toEqual([north, south]);
    expect([mesh.east.groups, mesh.south.groups]).toEqual([[2], [2, 2]]);
    // What was asked of it is answered in the end: from then on it is asked as before.
    mesh.east.meddle = (votes) => votes;
    for (const answer of heldBack) answer();
    await turns();
    await all(2);
    expect([mesh.east.groups, mesh.south.groups]).toEqual([
      [2, 2],
      [2, 2],
    ]);
  });

  test('that was not asked for five seconds is asked too, and is not waited for', async () => {
    mesh.south.meddle = () => never;
    await all(1);
    await clock.advance(4_900);
    await all(1);
    expect(mesh.south.groups).toEqual([]);
    await clock.advance(100);
    expect((await all(1)).map(endOf)).toEqual(['chosen']);
    expect((await all(1)).map(endOf)).toEqual(['chosen']);
    expect([mesh.east.groups, mesh.south.groups]).toEqual([[1, 1, 1, 1], [1]]);
  });

  test('that never answers is asked no more than 64 groups', async () => {
    mesh.east.meddle = () => never;
    const item = { t: 'prepare', register: registerOf('r'), ballot: next } as const;
    const lost: number[] = [];
    for (let group = 0; group < 70; group += 1) {
      void mesh.east.link.votes(1, [item]).then(({ answers }) => answers[0]?.t === 'lost' && lost.push(group));
    }
    await turns();
    expect(lost).toEqual([64, 65, 66, 67, 68, 69]);
  });
});

describe('a first round', () => {
  test('is asked of others only when this node’s own vote is given', async () => {
    let give = (): void => undefined;
    const flushed = new Promise<void>((resolve) => {
      give = resolve;
    });
    mesh.north.meddle = (votes) => flushed.then(() => votes);
    const voted = all(3, { ownFirst: true });
    await turns();
    expect([mesh.north.groups, mesh.east.groups, mesh.south.groups]).toEqual([[3], [], []]);
    give();
    for (const round of await voted) expect(certificateOf(round).batch?.size).toBe(3);
    expect([mesh.north.groups, mesh.east.groups, mesh.south.groups]).toEqual([[3], [3], []]);
  });

  test('that this node’s own acceptor refuses ends at once, and those beside it go on in a group of their own', async () => {
    mesh.north.outbid.add(registerOf('r1'));
    const rounds = await all(4, { ownFirst: true });
    expect(rounds.map(endOf)).toEqual(['chosen', 'outbid', 'chosen', 'chosen']);
    expect([mesh.north.groups, mesh.east.groups, mesh.south.groups]).toEqual([[4, 3], [3], []]);
    for (const at of [0, 2, 3]) expect(certificateOf(rounds[at]).batch?.size).toBe(3);
  });

  test.each([
    ['is not there', () => reachable.delete(north)],
    [
      'fails',
      () => {
        mesh.north.meddle = () => Promise.reject(new Error('no'));
      },
    ],
    [
      'does not hold what is proposed',
      () => {
        mesh.north.meddle = (votes) => ({
          ...votes,
          answers: votes.answers.map(() => ({ t: 'missing' })),
          batch: null,
        });
      },
    ],
  ])('ends, and asks nobody, when this node’s own acceptor %s', async (_why, spoil) => {
    spoil();
    expect((await all(3, { ownFirst: true })).map(endOf)).toEqual(['silent', 'silent', 'silent']);
    expect(mesh.east.groups).toEqual([]);
  });
});

describe('groups', () => {
  test('two are open at once, and what is asked meanwhile shares the next one', async () => {
    let answer = (): void => undefined;
    const later = new Promise<void>((resolve) => {
      answer = resolve;
    });
    for (const name of names) mesh[name].meddle = (votes) => later.then(() => votes);
    const voted: Promise<Round>[] = [];
    for (let at = 0; at < 6; at += 1) {
      voted.push(vote(`r${at}`));
      await turns();
    }
    answer();
    expect((await Promise.all(voted)).map(endOf)).toEqual(Array.from({ length: 6 }, () => 'chosen'));
    expect(mesh.east.groups).toEqual([1, 1, 4]);
  });

  test('grow while rounds come one by one: the next one goes when it is as large as the largest on its way', async () => {
    const answers: (() => void)[] = [];
    const held = (votes: Omit<Answers, 'sequence'>) =>
      new Promise<Omit<Answers, 'sequence'>>((resolve) => answers.push(() => resolve(votes)));
    for (const name of names) mesh[name].meddle = held;
    const voted: Promise<Round>[] = [];
    for (let at = 0; at < 64; at += 1) {
      voted.push(vote(`r${at}`));
      await turns();
      // Coordinators answer once in eight rounds that come.
      if (at % 8 === 7) for (const answer of answers.splice(0)) answer();
    }
    const ended = Promise.all(voted);
    for (let left = 0; left < 20; left += 1) {
      for (const answer of answers.splice(0)) answer();
      await turns();
    }
    expect((await ended).map(endOf)).toEqual(Array.from({ length: 64 }, () => 'chosen'));
    // Two that met nobody or one, then all that came between two answers.
    expect(mesh.east.groups.slice(0, 2)).toEqual([1, 1]);
    expect(64 / mesh.east.groups.length).toBeGreaterThan(4);
  });

  test('enclose no more than 128 KiB: what is beyond goes with the next one', async () => {
    const enclosed = [new Uint8Array(4 * 1024)];
    expect((await all(40, { enclosed })).map(endOf)).toEqual(Array.from({ length: 40 }, () => 'chosen'));
    expect(mesh.east.groups).toEqual([32, 8]);
  });

  test('have 128 rounds at the most', async () => {
    expect((await all(300)).map(endOf)).toEqual(Array.from({ length: 300 }, () => 'chosen'));
    expect(mesh.east.groups).toEqual([128, 128, 44]);
  });

  test('wait for no more than 8,192 rounds: one more is lost at once', async () => {
    for (const name of names) mesh[name].meddle = () => never;
    const lost: number[] = [];
    const item = { t: 'prepare', register: registerOf('r'), ballot: next } as const;
    for (let at = 0; at < 8_193; at += 1) {
      const take = (_from: unknown, { t }: { readonly t: string }): boolean => t === 'lost' && lost.push(at) === 3;
      groups.ask({ view: viewOf(1), item, ownFirst: false, take });
    }
    await turns();
    expect(lost).toEqual([8_192, 8_192, 8_192]);
  });

  test('of rounds that a majority cannot decide keep no others waiting', async () => {
    mesh.south.meddle = () => never;
    mesh.east.meddle = (votes) => {
      const { items } = mesh.east.asked.at(-1) as VotesRequest;
      const isLacking = (at: number): boolean => ['x', 'y'].some((name) => items[at]?.register === registerOf(name));
      return { ...votes, answers: votes.answers.map((vote, at) => (isLacking(at) ? { t: 'missing' } : vote)) };
    };
    for (const name of ['x', 'y']) {
      void vote(name);
      await turns();
    }
    const rounds = await Promise.all(['a', 'b', 'c'].map((name) => vote(name)));
    expect(rounds.map(endOf)).toEqual(['chosen', 'chosen', 'chosen']);
    expect(clock.monotonicMs()).toBe(0);
  });

  test('go on when a coordinator is slow and a majority has answered', async () => {
    mesh.east.meddle = () => never;
    const voted = all(500);
    await clock.advance(1_000);
    expect((await voted).map(endOf)).toEqual(Array.from({ length: 500 }, () => 'chosen'));
  });
});
