import { expect, test } from 'vitest';
import type { AdapterFaultName } from './mutants/adapter-faults.ts';
import type { SourceFaultName } from './mutants/source-faults.ts';
import type { ScenarioName } from './scenarios.ts';
import { sweep } from './sweep.ts';

interface Proof {
  readonly fault: AdapterFaultName | SourceFaultName;
  readonly kind: 'adapter' | 'source';
  /** Within so many seeds of the scenario, from 1 on where nothing else is said, some run must fail. */
  readonly seeds: number;
  /** The first of seeds that were chosen since they find it: without the fault they must not fail. */
  readonly from?: number;
  readonly scenario?: ScenarioName;
  /** The checkers that are there to find it. */
  readonly finders: readonly string[];
}

const proofs: readonly Proof[] = [
  // Its feed of contents keeps its name as its dots do, so that who follows it misses what was lost of it.
  { fault: 'reuse-dots', kind: 'adapter', seeds: 12, finders: ['unique-dots', 'convergence'] },
  {
    fault: 'keep-clean-stop-marker',
    kind: 'adapter',
    seeds: 24,
    scenario: 'disks',
    finders: ['unique-dots', 'convergence'],
  },
  { fault: 'write-on-as-before', kind: 'source', seeds: 8, scenario: 'disks', finders: ['unique-dots'] },
  { fault: 'acknowledge-before-flush', kind: 'adapter', seeds: 6, finders: ['no-loss'] },
  { fault: 'flush-nothing', kind: 'adapter', seeds: 6, finders: ['no-loss', 'drops'] },
  { fault: 'complete-before-flush', kind: 'source', seeds: 8, finders: ['no-loss', 'drops'] },
  { fault: 'drop-branch-on-merge', kind: 'source', seeds: 2, finders: ['heads'] },
  { fault: 'accept-unverified-chunk', kind: 'source', seeds: 4, finders: ['verified-bytes'] },
  { fault: 'accept-wrong-generation', kind: 'source', seeds: 4, finders: ['causality'] },
  { fault: 'accept-wrong-context', kind: 'source', seeds: 4, finders: ['causality'] },
  { fault: 'accept-forged-signature', kind: 'source', seeds: 4, finders: ['verified-bytes'] },
  { fault: 'accept-forged-certificate', kind: 'source', seeds: 4, scenario: 'hostile', finders: ['confirmations'] },
  // That every node takes fewer for a majority, and that only who proposes does.
  { fault: 'confirm-without-majority', kind: 'source', seeds: 1, scenario: 'coordinators', finders: ['confirmations'] },
  { fault: 'count-too-few-accepts', kind: 'source', seeds: 1, scenario: 'coordinators', finders: ['confirmations'] },
  { fault: 'call-any-write-confirmed', kind: 'source', seeds: 1, scenario: 'quorum', finders: ['quorum-writes'] },
  { fault: 'admin-entry-without-majority', kind: 'source', seeds: 2, scenario: 'coordinators', finders: ['control'] },
  { fault: 'forget-promises-at-start', kind: 'source', seeds: 1, scenario: 'coordinators', finders: ['votes'] },
  { fault: 'vote-on-when-restored', kind: 'source', seeds: 2, scenario: 'coordinators', finders: ['votes'] },
  // About one seed of twenty finds it.
  { fault: 'drop-unproved-copy', kind: 'source', from: 43, seeds: 1, scenario: 'placement', finders: ['drops'] },
  {
    fault: 'wait-for-what-cannot-be-met',
    kind: 'source',
    from: 98_108,
    seeds: 1,
    scenario: 'placement',
    finders: ['convergence'],
  },
  { fault: 'count-claimed-copy', kind: 'source', seeds: 4, scenario: 'placement', finders: ['proofs', 'drops'] },
  { fault: 'stand-in-before-delay', kind: 'source', seeds: 8, scenario: 'placement', finders: ['patience'] },
  { fault: 'tell-of-no-conflict', kind: 'source', seeds: 1, finders: ['events'] },
  { fault: 'tell-of-conflicts-again', kind: 'source', seeds: 1, finders: ['events'] },
  { fault: 'leave-timers-behind', kind: 'source', seeds: 1, finders: ['clean-stop'] },
  { fault: 'name-one-parent-in-a-change', kind: 'source', seeds: 1, finders: ['documents'] },
  { fault: 'count-one-of-many', kind: 'source', seeds: 1, finders: ['recovery'] },
  { fault: 'believe-any-proof', kind: 'source', seeds: 4, scenario: 'placement', finders: ['proofs', 'drops'] },
];

test.each(proofs)('$fault is found within $seeds seeds', { timeout: 300_000 }, async (proof) => {
  const requests = Array.from({ length: proof.seeds }, (_, index) => ({
    scenario: proof.scenario ?? 'default',
    seed: (proof.from ?? 1) + index,
    nodes: 5,
    ...(proof.kind === 'adapter' ? { fault: proof.fault as AdapterFaultName } : {}),
  }));
  const options = proof.kind === 'source' ? { sourceFault: proof.fault as SourceFaultName } : {};
  const reports = await sweep(requests, { ...options, stopAtFailure: true });
  if (proof.from !== undefined) {
    const sound = await sweep(requests);
    expect(sound.flatMap(({ failure }) => failure ?? [])).toEqual([]);
  }
  const failures = reports.flatMap((report) => report.failure?.message.split('\n')[0] ?? []);
  expect(failures.length).toBeGreaterThan(0);
  for (const failure of failures) {
    expect(
      proof.finders.some((name) => failure.startsWith(`Violation: ${name}:`)),
      failure,
    ).toBe(true);
  }
});
