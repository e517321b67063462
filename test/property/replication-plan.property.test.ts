import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BlobHash, DocId, NodeId, VersionId } from '../../crdt/ids.ts';
import type { PlacementNode } from '../../crdt/placement.ts';
import { auditorOf } from '../../src/replication/audit-shares.ts';
import { type DropView, mayDrop } from '../../src/replication/may-drop.ts';
import { PlacementMap, placementChange } from '../../src/replication/placement-map.ts';
import { assess, type CopyView, type PlannedPull, planRepairs, type RepairView } from '../../src/replication/plan.ts';
import { nodesAfter, previewMoves } from '../../src/replication/preview.ts';
import type { Subject } from '../../src/replication/subject.ts';
import { idOf } from '../support/made-ids.ts';
import { runs } from '../support/property-runs.ts';

const nodeNamed = (index: number): NodeId => `node-${index}` as NodeId;

const idsOf = (key: string): Pick<Subject, 'doc' | 'version' | 'manifest'> => ({
  doc: idOf(`doc ${key}`),
  version: idOf(`version ${key}`),
  manifest: idOf(`content ${key}`),
});

const nodeCount = 8;
const nodes: fc.Arbitrary<PlacementNode[]> = fc
  .array(fc.record({ weight: fc.integer({ min: 1, max: 16 }), dc: fc.constantFrom('fra', 'ams', 'lon') }), {
    minLength: 1,
    maxLength: nodeCount,
  })
  .map((list) => list.map(({ weight, dc }, index) => ({ nodeId: nodeNamed(index), weight, labels: { dc } })));

const policies = fc.record({ replicas: fc.integer({ min: 1, max: 4 }), dcs: fc.integer({ min: 1, max: 3 }) });

/** Few contents for many versions, so that several share one. */
const subjects: fc.Arbitrary<Subject[]> = fc.array(fc.tuple(fc.nat(9), fc.nat(7)), { maxLength: 20 }).map((list) =>
  list.map(([key, content], index) => ({
    doc: idOf<DocId>(`doc ${key}`),
    ns: key % 2 === 0 ? 'even' : 'odd',
    key: `key-${key}`,
    version: idOf<VersionId>(`version ${index}`),
    manifest: idOf<BlobHash>(`content ${content}`),
    sizeBytes: (content + 1) * 1_000,
  })),
);

/** For each content and node: nothing, a copy, a proved copy, or one that was caught without it. */
const copyKinds = fc.array(fc.constantFrom('none', 'copy', 'proved', 'suspect'), { minLength: 64, maxLength: 64 });

const worlds = fc
  .record({
    nodes,
    subjects,
    copyKinds,
    even: policies,
    odd: policies,
    gone: fc.array(fc.nat(nodeCount), { maxLength: 3 }),
    away: fc.array(fc.nat(nodeCount), { maxLength: 2 }),
  })
  .map((world) => new World(world));

interface WorldParts {
  readonly nodes: readonly PlacementNode[];
  readonly subjects: readonly Subject[];
  readonly copyKinds: readonly string[];
  readonly even: { readonly replicas: number; readonly dcs: number };
  readonly odd: { readonly replicas: number; readonly dcs: number };
  readonly gone: readonly number[];
  readonly away: readonly number[];
}

/** A mesh as a plan sees it, which pulls can be applied to. */
class World {
  readonly subjects: readonly Subject[];
  readonly view: RepairView;
  readonly #copies = new Map<BlobHash, CopyView[]>();

  constructor({ nodes, subjects, copyKinds, even, odd, gone, away }: WorldParts) {
    this.subjects = subjects;
    for (let content = 0; content < 8; content += 1) {
      const copies = Array.from({ length: nodeCount }, (_, index) => ({
        nodeId: nodeNamed(index),
        kind: copyKinds[content * nodeCount + index],
      }));
      this.#copies.set(
        idOf<BlobHash>(`content ${content}`),
        copies
          .filter(({ kind }) => kind !== 'none')
          .map(({ nodeId, kind }) => ({ nodeId, isProved: kind === 'proved', isSuspect: kind === 'suspect' })),
      );
    }
    const policyOf = ({ replicas, dcs }: WorldParts['even']) => ({
      replicas,
      diversity: { dc: Math.min(dcs, replicas) },
    });
    const goneIds = new Set(gone.map(nodeNamed));
    this.view = {
      placement: new PlacementMap(
        nodes,
        new Map([
          ['even', policyOf(even)],
          ['odd', policyOf(odd)],
        ]),
      ),
      gone: goneIds,
      away: new Set(away.map(nodeNamed).filter((node) => !goneIds.has(node))),
      copies: (manifest) => this.#copies.get(manifest) ?? [],
      subjectsOf: (manifest) => subjects.filter((subject) => subject.manifest === manifest),
    };
  }

  apply(pulls: readonly PlannedPull[]): void {
    for (const { subject, to } of pulls) {
      const others = this.view.copies(subject.manifest).filter(({ nodeId }) => nodeId !== to);
      this.#copies.set(subject.manifest, [...others, { nodeId: to, isProved: true, isSuspect: false }]);
    }
  }

  /** Copies that can be read now. */
  online(manifest: BlobHash): NodeId[] {
    const { gone, away } = this.view;
    return this.view
      .copies(manifest)
      .filter(({ nodeId, isSuspect }) => !isSuspect && !gone.has(nodeId) && !away.has(nodeId))
      .map(({ nodeId }) => nodeId);
  }

  suspects(manifest: BlobHash): NodeId[] {
    return this.view.copies(manifest).flatMap(({ nodeId, isSuspect }) => (isSuspect ? [nodeId] : []));
  }
}

const now = (pulls: readonly PlannedPull[]): PlannedPull[] => pulls.filter(({ isWaiting }) => !isWaiting);

describe('a plan of repairs', () => {
  it('leaves every content that can be reached where its policies place it, once it is carried out', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { placement, gone, away } = world.view;
        const unreachable = world.subjects.filter(({ manifest }) => world.online(manifest).length === 0);
        world.apply(now(planRepairs(world.view, world.subjects).pulls));
        for (const subject of world.subjects) {
          if (unreachable.includes(subject)) continue;
          const { ns, key, manifest } = subject;
          const without = new Set([...gone, ...world.suspects(manifest)]);
          const { desired, substitutes } = placement.assigned(ns, key, without);
          const targets = [...desired.holders.filter((node) => !without.has(node)), ...substitutes];
          const here = world.online(manifest);
          for (const node of targets) if (!away.has(node)) expect(here).toContain(node);
          // Among them are all the holders that a mesh without those nodes would choose: no lesser diversity.
          const rest = new PlacementMap(
            placement.nodes.filter(({ nodeId }) => !without.has(nodeId)),
            new Map([[ns, placement.policyOf(ns)]]),
          );
          for (const node of rest.desired(ns, key).holders) expect(targets).toContain(node);
        }
      }),
      runs(2),
    );
  });

  it('has nothing more to do after it was carried out', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        world.apply(now(planRepairs(world.view, world.subjects).pulls));
        expect(now(planRepairs(world.view, world.subjects).pulls)).toEqual([]);
      }),
      runs(2),
    );
  });

  it('is the same whoever makes it, in whatever order the versions come, each pull once', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const plan = planRepairs(world.view, world.subjects);
        expect(planRepairs(world.view, [...world.subjects].reverse())).toEqual(plan);
        const names = plan.pulls.map(({ subject, to }) => `${subject.manifest} ${to}`);
        expect(new Set(names).size).toBe(names.length);
      }),
      runs(1),
    );
  });

  it('lists the contents with the fewest proved copies first, then the smallest, when it is cut short too', () => {
    fc.assert(
      fc.property(worlds, fc.integer({ min: 1, max: 5 }), (world, pullsMax) => {
        const whole = planRepairs(world.view, world.subjects);
        const cut = planRepairs(world.view, world.subjects, pullsMax);
        expect(cut.pulls).toEqual(whole.pulls.slice(0, pullsMax));
        expect(cut.isCut).toBe(whole.pulls.length > pullsMax);
        const ranks = now(whole.pulls).map(({ provedCopies, subject }) => [provedCopies, subject.sizeBytes] as const);
        const sorted = [...ranks].sort((left, right) => left[0] - right[0] || left[1] - right[1]);
        expect(ranks).toEqual(sorted);
      }),
      runs(1),
    );
  });

  it('moves nothing because a node is away, and says what it would move if it stayed so', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { view } = world;
        const nobodyAway = { ...view, away: new Set<NodeId>() };
        for (const subject of world.subjects) {
          const calm = now(assess(nobodyAway, subject).pulls).map(({ to }) => to);
          const { pulls } = assess(view, subject);
          for (const { to } of now(pulls)) expect(calm).toContain(to);
          const later = { ...view, gone: new Set([...view.gone, ...view.away]), away: new Set<NodeId>() };
          const then = assess(later, subject).pulls.map(({ to }) => to);
          if (world.online(subject.manifest).length > 0)
            for (const to of then) expect(pulls.map((pull) => pull.to)).toContain(to);
        }
      }),
      runs(1),
    );
  });

  it('pulls only to nodes that are there and from nodes that have it, and calls nothing surplus that a version needs', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { view } = world;
        for (const subject of world.subjects) {
          const { pulls, surplus } = assess(view, subject);
          for (const { to, from } of pulls) {
            expect(view.gone.has(to) || view.away.has(to) || world.suspects(subject.manifest).includes(to)).toBe(false);
            expect([...from].sort()).toEqual(world.online(subject.manifest).sort());
            expect(from).not.toContain(to);
          }
          for (const { ns, key } of view.subjectsOf(subject.manifest)) {
            for (const holder of view.placement.desired(ns, key).holders) expect(surplus).not.toContain(holder);
          }
        }
      }),
      runs(1),
    );
  });

  it('counts every version once, as what it is', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { totals } = planRepairs(world.view, world.subjects);
        const { healthy, under, mis, over, unreachable } = totals;
        expect(healthy + under + mis + over + unreachable).toBe(world.subjects.length);
        expect(unreachable).toBe(world.subjects.filter(({ manifest }) => world.online(manifest).length === 0).length);
      }),
      runs(1),
    );
  });
});

describe('dropping a copy', () => {
  const drops = worlds.chain((world) =>
    fc.record({
      world: fc.constant(world),
      self: fc.nat(nodeCount).map(nodeNamed),
      proofs: fc.array(fc.tuple(fc.nat(nodeCount), fc.integer({ min: 0, max: 20_000 })), { maxLength: 6 }),
      isBound: fc.boolean(),
    }),
  );

  it('leaves as many proved and bound copies, as far apart, as every policy asks', () => {
    fc.assert(
      fc.property(drops, ({ world, self, proofs, isBound }) => {
        const { placement, gone } = world.view;
        const provedUntilMs = new Map(proofs.map(([index, untilMs]) => [nodeNamed(index), untilMs]));
        for (const { manifest } of world.subjects) {
          const subjectsHere = world.view.subjectsOf(manifest);
          const view: DropView = { self, subjects: subjectsHere, placement, gone, isBound, provedUntilMs, nowMs: 0 };
          if (mayDrop(view) !== undefined) continue;
          expect(isBound).toBe(false);
          const left = placement.nodes.filter(({ nodeId }) => nodeId !== self && (provedUntilMs.get(nodeId) ?? 0) > 0);
          for (const { ns, key } of subjectsHere) {
            const policy = placement.policyOf(ns);
            expect(left.length).toBeGreaterThanOrEqual(policy.replicas);
            expect(new Set(left.map(({ labels }) => labels.dc)).size).toBeGreaterThanOrEqual(policy.diversity.dc ?? 0);
            expect(placement.desired(ns, key).holders).not.toContain(self);
          }
        }
      }),
      runs(3),
    );
  });

  it('is allowed when all the desired holders have proved it, and not a moment before the last is bound', () => {
    const placement = new PlacementMap(
      ['fra', 'ams', 'lon', 'fra'].map((dc, index) => ({ nodeId: nodeNamed(index), weight: 1, labels: { dc } })),
      new Map([['docs', { replicas: 3, diversity: { dc: 2 } }]]),
    );
    const subject: Subject = { ...idsOf('a'), ns: 'docs', key: 'a', sizeBytes: 1 };
    const { holders } = placement.desired('docs', 'a');
    const self = [0, 1, 2, 3].map(nodeNamed).find((node) => !holders.includes(node)) as NodeId;
    const view: DropView = {
      self,
      subjects: [subject],
      placement,
      gone: new Set(),
      isBound: false,
      provedUntilMs: new Map(holders.map((holder) => [holder, 60_000])),
      nowMs: 0,
    };
    expect(mayDrop(view)).toBeUndefined();
    expect(mayDrop({ ...view, isBound: true })).toBe('bound');
    expect(mayDrop({ ...view, subjects: [] })).toBe('unreferenced');
    expect(mayDrop({ ...view, self: holders[0] as NodeId })).toBe('wanted_here');
    expect(mayDrop({ ...view, nowMs: 59_000 })).toBe('too_few_proofs');
    const [first, ...rest] = holders;
    expect(mayDrop({ ...view, provedUntilMs: new Map(rest.map((holder) => [holder, 60_000])) })).toBe('too_few_proofs');
    const alike = new PlacementMap(
      placement.nodes.map((node) => ({ ...node, labels: { dc: node.nodeId === self ? 'ams' : 'fra' } })),
      new Map([['docs', { replicas: 3, diversity: { dc: 2 } }]]),
    );
    expect(mayDrop({ ...view, placement: alike })).not.toBeUndefined();
    expect(first).toBeDefined();
  });

  it('is refused where those who proved it lie closer together than the policy asks', () => {
    const dcs = ['fra', 'fra', 'fra', 'ams', 'ams'];
    const placement = new PlacementMap(
      dcs.map((dc, index) => ({ nodeId: nodeNamed(index), weight: 1, labels: { dc } })),
      new Map([['docs', { replicas: 2, diversity: { dc: 2 } }]]),
    );
    const subject = { ...idsOf('a'), ns: 'docs', key: 'a', sizeBytes: 1 };
    const { holders } = placement.desired('docs', 'a');
    const self = [3, 4].map(nodeNamed).find((node) => !holders.includes(node)) as NodeId;
    const provedBy = (...nodes_: NodeId[]): ReturnType<typeof mayDrop> =>
      mayDrop({
        self,
        subjects: [subject],
        placement,
        gone: new Set(),
        isBound: false,
        provedUntilMs: new Map(nodes_.map((node) => [node, 60_000])),
        nowMs: 0,
      });
    expect(provedBy(nodeNamed(0), nodeNamed(1), nodeNamed(2))).toBe('too_little_diversity');
    expect(provedBy(...holders)).toBeUndefined();
  });
});

describe('a preview', () => {
  const changes = fc.record({ nodes, index: fc.nat(nodeCount - 1), weight: fc.integer({ min: 1, max: 16 }), subjects });

  it('says of every version what placement after the change says, and adds it up', () => {
    fc.assert(
      fc.property(changes, fc.constantFrom('leave', 'drain', 'labels', 'capacity', 'join'), (world, kind) => {
        const nodeId = nodeNamed(world.index % world.nodes.length);
        const change =
          kind === 'join'
            ? { kind, node: { nodeId: nodeNamed(99), weight: world.weight, labels: { dc: 'fra' } } }
            : kind === 'labels'
              ? { kind, nodeId, labels: { dc: 'new' } }
              : kind === 'capacity'
                ? { kind, nodeId, weight: world.weight }
                : { kind: kind as 'leave' | 'drain', nodeId };
        const policies_ = new Map([['even', { replicas: 2, diversity: { dc: 2 } }]]);
        const before = new PlacementMap(world.nodes, policies_);
        const after = new PlacementMap(nodesAfter(world.nodes, change), policies_);
        const page = previewMoves({ before, after, holds: () => false }, world.subjects, {
          subjectsMax: 1_000,
          movesMax: 1_000,
        });
        let bytes = 0;
        for (const { subject, from, to } of page.moves) {
          const was = before.desired(subject.ns, subject.key).holders;
          const is = after.desired(subject.ns, subject.key).holders;
          expect([...was.filter((node) => !from.includes(node)), ...to].sort()).toEqual([...is].sort());
          bytes += to.length * subject.sizeBytes;
        }
        expect(page.totals).toMatchObject({ subjects: world.subjects.length, bytes, moved: page.moves.length });
        const sums = [...page.totals.nodes.values()];
        expect(sums.reduce((sum, { bytesIn }) => sum + bytesIn, 0)).toBe(bytes);
        expect(page.next).toBeUndefined();
      }),
      runs(1),
    );
  });

  it('comes in pages that join without a gap', () => {
    fc.assert(
      fc.property(changes, fc.integer({ min: 1, max: 7 }), (world, subjectsMax) => {
        const before = new PlacementMap(world.nodes, new Map());
        const after = new PlacementMap(nodesAfter(world.nodes, { kind: 'leave', nodeId: nodeNamed(0) }), new Map());
        const view = { before, after, holds: () => false };
        const whole = previewMoves(view, world.subjects, { subjectsMax: 1_000, movesMax: 1_000 });
        const moves = [];
        for (let at = 0; ; ) {
          const page = previewMoves(view, world.subjects.slice(at), { subjectsMax, movesMax: 1_000 });
          moves.push(...page.moves);
          if (page.next === undefined) break;
          at += subjectsMax;
        }
        expect(moves).toEqual(whole.moves);
      }),
      runs(1),
    );
  });
});

describe('what changes in placement', () => {
  it('touches exactly the objects whose desired holders are others', () => {
    fc.assert(
      fc.property(nodes, nodes, policies, policies, (former, present, one, other) => {
        const policyOf = ({ replicas, dcs }: typeof one) =>
          new Map([['even', { replicas, diversity: { dc: Math.min(dcs, replicas) } }]]);
        const [before, after] = [new PlacementMap(former, policyOf(one)), new PlacementMap(present, policyOf(other))];
        const change = placementChange(before, after, ['even']);
        for (let key = 0; key < 20; key += 1) {
          for (const ns of ['even', 'odd']) {
            const [was, is] = [before.desired(ns, `${key}`).holders, after.desired(ns, `${key}`).holders];
            const isOther = [...was].sort().join() !== [...is].sort().join();
            expect(change.touches(ns, `${key}`)).toBe(isOther);
            if (isOther) expect(change.isAny).toBe(true);
          }
        }
      }),
      runs(1),
    );
  });

  it('is nothing where the same nodes come in another order', () => {
    fc.assert(
      fc.property(nodes, (all) => {
        const change = placementChange(
          new PlacementMap(all, new Map()),
          new PlacementMap([...all].reverse(), new Map()),
          [],
        );
        expect(change.isAny).toBe(false);
      }),
      runs(0.3),
    );
  });
});

describe('the auditor of a slot', () => {
  const coordinators = fc.uniqueArray(fc.nat(20), { minLength: 1, maxLength: 7 }).map((list) => list.map(nodeNamed));

  it('is one of the coordinators, the same whoever asks, and another only when that one has gone', () => {
    fc.assert(
      fc.property(coordinators, fc.nat(4_095), (nodes_, slot) => {
        const auditor = auditorOf(slot, nodes_) as NodeId;
        expect(nodes_).toContain(auditor);
        expect(auditorOf(slot, [...nodes_].reverse())).toBe(auditor);
        for (const gone of nodes_) {
          const rest = nodes_.filter((node) => node !== gone);
          if (gone !== auditor) expect(auditorOf(slot, rest)).toBe(auditor);
        }
      }),
      runs(1),
    );
    expect(auditorOf(1, [])).toBeUndefined();
  });

  it('differs from slot to slot', () => {
    const three = [0, 1, 2].map(nodeNamed);
    const counts = new Map<NodeId | undefined, number>();
    for (let slot = 0; slot < 4_096; slot += 1) {
      const auditor = auditorOf(slot, three);
      counts.set(auditor, (counts.get(auditor) ?? 0) + 1);
    }
    for (const node of three) expect(Math.abs((counts.get(node) ?? 0) - 4_096 / 3)).toBeLessThan(200);
  });
});
