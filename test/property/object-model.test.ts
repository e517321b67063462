import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Outcome, WrittenVersion } from '../../src/node/api.ts';
import { namespace, Simulation } from '../sim/simulation.ts';
import { runs } from '../support/property-runs.ts';

/** What a client knows of an object: its versions in the order they were written, and nothing of how they are kept. */
interface ModelVersion {
  readonly id: string;
  readonly parents: readonly string[];
  readonly generation: number;
  readonly text: string | null;
}

type Objects = Map<string, ModelVersion[]>;

type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly text: string; readonly parents: readonly number[] | null }
  | { readonly kind: 'remove'; readonly key: string; readonly parents: readonly number[] | null }
  | { readonly kind: 'merge'; readonly key: string; readonly parents: readonly number[]; readonly pick: number }
  | { readonly kind: 'readAll' | 'restart' | 'crash' };

const key = fc.constantFrom('a', 'a/b', 'z');
const picks = fc.array(fc.nat(50), { minLength: 1, maxLength: 4 });
const parents = fc.option(picks, { freq: 2 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), key, text: fc.string(), parents }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), key, parents }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('merge' as const), key, parents: picks, pick: fc.nat(50) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('readAll' as const, 'restart', 'crash') }) },
);

const isAncestor = (versions: readonly ModelVersion[], elder: string, younger: string): boolean => {
  const found = versions.find((version) => version.id === younger);
  return found?.parents.some((parent) => parent === elder || isAncestor(versions, elder, parent)) ?? false;
};

const headsOf = (versions: readonly ModelVersion[]): ModelVersion[] =>
  versions.filter(({ id }) => !versions.some((version) => version.parents.includes(id)));

const preferredOf = (versions: readonly ModelVersion[]): ModelVersion | undefined =>
  headsOf(versions).sort((x, y) => y.generation - x.generation || (x.id < y.id ? 1 : -1))[0];

/** What a write supersedes, by the rules a client is told: what it names less ancestors, or the preferred head. */
function superseded(versions: readonly ModelVersion[], named: readonly string[] | undefined): string[] {
  if (named === undefined) return versions.length === 0 ? [] : [(preferredOf(versions) as ModelVersion).id];
  const distinct = [...new Set(named)];
  return distinct.filter((elder) => !distinct.some((other) => isAncestor(versions, elder, other))).sort();
}

/** A node beside the model: every answer must be the one the model gives. */
class Pair {
  readonly #sim = new Simulation({ seed: 'model', nodes: ['alice'] });
  readonly #model: Objects = new Map();

  async start(): Promise<void> {
    await this.#sim.startAll();
  }

  async perform(step: Operation): Promise<void> {
    switch (step.kind) {
      case 'put':
        return this.#put(step);
      case 'remove':
        return this.#remove(step);
      case 'merge':
        return this.#merge(step);
      case 'restart':
        await this.#sim.stop('alice');
        return this.#sim.restart('alice');
      case 'crash':
        this.#sim.crash('alice');
        return this.#sim.restart('alice');
      case 'readAll':
        return this.compare();
    }
  }

  async #put(step: Extract<Operation, { kind: 'put' }>): Promise<void> {
    const versions = this.#versions(step.key);
    const named = this.#named(step.key, step.parents);
    const outcome = await this.#sim.run(this.#sim.put('alice', step.key, step.text, named));
    this.#entered(step.key, outcome, superseded(versions, named), step.text);
  }

  async #remove(step: Extract<Operation, { kind: 'remove' }>): Promise<void> {
    const versions = this.#versions(step.key);
    const named = this.#named(step.key, step.parents);
    const target = {
      ns: namespace,
      key: step.key,
      author: 'admin',
      ...(named === undefined ? {} : { parents: named }),
    };
    const outcome = await this.#sim.run(this.#sim.acknowledge('alice', this.#sim.node('alice').delete(target)));
    if (named === undefined && versions.length === 0) return expectRefusal(outcome, 'not_found');
    if (named === undefined && headsOf(versions).every((head) => head.text === null)) {
      return expectRefusal(outcome, 'deleted');
    }
    this.#entered(step.key, outcome, superseded(versions, named), null);
  }

  async #merge(step: Extract<Operation, { kind: 'merge' }>): Promise<void> {
    const versions = this.#versions(step.key);
    if (versions.length === 0) return;
    const named = this.#named(step.key, step.parents) as string[];
    const pick = named[step.pick % named.length] as string;
    const input = { ns: namespace, key: step.key, parents: named, pick, author: 'admin' };
    const outcome = await this.#sim.run(this.#sim.acknowledge('alice', this.#sim.node('alice').merge(input)));
    const parents = superseded(versions, named);
    if (parents.length < 2) return expectRefusal(outcome, 'invalid_request');
    const adopted = versions.find((version) => version.id === pick)?.text ?? null;
    this.#entered(step.key, outcome, parents, adopted);
  }

  #entered(name: string, outcome: Outcome<WrittenVersion>, parents: readonly string[], text: string | null): void {
    const versions = this.#versions(name);
    if (!outcome.ok) throw new Error(`refused: ${outcome.error.code}: ${outcome.error.message}`);
    const { version: id, generation, heads, kind } = outcome.value;
    const greatest = Math.max(0, ...versions.filter((v) => parents.includes(v.id)).map((v) => v.generation));
    expect(outcome.value.parents).toEqual(parents);
    expect(generation).toBe(greatest + 1);
    expect(kind).toBe(text === null ? 'delete' : parents.length > 1 ? 'merge' : 'put');
    this.#model.set(name, [...versions, { id, parents, generation, text }]);
    expect(heads).toEqual(
      headsOf(this.#versions(name))
        .map((head) => head.id)
        .sort(),
    );
  }

  /** Asks for everything that can be asked for. */
  async compare(): Promise<void> {
    const node = this.#sim.node('alice');
    const listed: string[] = [];
    const inConflict: string[] = [];
    for (const [name, versions] of [...this.#model].sort(([x], [y]) => (x < y ? -1 : 1))) {
      const heads = headsOf(versions);
      if (heads.some((head) => head.text !== null)) listed.push(name);
      if (heads.length > 1) inConflict.push(name);
      const graph = this.#sim.graphOf('alice', name);
      expect(graph.versions.map((version) => version.version).sort()).toEqual(versions.map((v) => v.id).sort());
      expect(graph.preferred).toBe(preferredOf(versions)?.id);
      await this.#compareReads(name, versions);
    }
    const listing = node.list({ ns: namespace });
    const conflicts = node.conflicts({ ns: namespace });
    expect(listing.ok && listing.value.objects.map((object) => object.key)).toEqual(listed);
    expect(conflicts.ok && conflicts.value.conflicts.map((conflict) => conflict.key)).toEqual(inConflict);
  }

  async #compareReads(name: string, versions: readonly ModelVersion[]): Promise<void> {
    for (const { id, text } of versions) {
      const read = await this.#sim.run(this.#sim.readBytes('alice', name, id));
      if (text === null) expectRefusal(read, 'deleted');
      else expect(read.ok && Buffer.from(read.value).toString('utf8')).toBe(Buffer.from(text).toString('utf8'));
    }
    const preferred = preferredOf(versions);
    const shown = this.#sim.node('alice').read({ ns: namespace, key: name });
    if (preferred === undefined) expectRefusal(shown, 'not_found');
    else if (preferred.text === null) expectRefusal(shown, 'deleted');
    else expect(shown.ok && shown.value.version).toBe(preferred.id);
  }

  #versions(name: string): readonly ModelVersion[] {
    return this.#model.get(name) ?? [];
  }

  /** Numbers stand for versions that exist; for an object without any, nothing can be named. */
  #named(name: string, numbers: readonly number[] | null): string[] | undefined {
    const versions = this.#versions(name);
    if (numbers === null || versions.length === 0) return undefined;
    return numbers.map((number) => (versions[number % versions.length] as ModelVersion).id);
  }
}

function expectRefusal(outcome: Outcome<unknown>, code: string): void {
  expect(outcome.ok ? 'accepted' : outcome.error.code).toBe(code);
}

test('a node answers as the model does, through restarts and crashes, whatever it is asked', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (steps) => {
      const pair = new Pair();
      await pair.start();
      for (const step of steps) await pair.perform(step);
      await pair.compare();
    }),
    runs(0.5),
  );
});
