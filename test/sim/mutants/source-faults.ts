/** A line of production code, and what a deliberate fault puts in its place. */
export interface SourceFault {
  /** The module's path from the project's root. */
  readonly module: string;
  /** Text that occurs exactly once in it. */
  readonly find: string;
  readonly replace: string;
}

/**
 * Deliberate faults that are modules gone wrong. They are put in place while a test's worker process loads the module;
 * production knows nothing of them.
 */
export const sourceFaults = {
  'drop-branch-on-merge': {
    module: 'crdt/version-graph.ts',
    find: 'heads.filter((head) => !superseded.has(head))',
    replace: 'heads.filter((head) => version.parents.length < 2 && !superseded.has(head))',
  },
  'accept-unverified-chunk': {
    module: 'protocols/blobs/holder-session.ts',
    find: 'if (blob !== undefined && blobHashOf(blob) !== want.hash) {',
    replace: 'if (blob !== undefined && blobHashOf(blob) === "") {',
  },
  'accept-wrong-generation': {
    module: 'crdt/version.ts',
    find: '(record.generation === generationOfChild(parents)',
    replace: '(record.generation > 0',
  },
  'accept-wrong-context': {
    module: 'crdt/version.ts',
    find: '(contextEquals(version.context, contextOfChild(parents))',
    replace: '(version.context !== undefined',
  },
  'accept-forged-signature': {
    module: 'src/node/record-intake.ts',
    find: 'holds[next++] === true',
    replace: 'next >= 0',
  },
  'confirm-without-majority': {
    module: 'crdt/certificate.ts',
    find: 'return Math.floor(coordinators / 2) + 1;',
    replace: 'return Math.min(1, coordinators);',
  },
  'drop-unproved-copy': {
    module: 'src/replication/content-dropper.ts',
    find: 'this.#judge(manifest, proofs.get(manifest) ?? new Map())',
    replace: 'this.#judge(manifest, everybody(this.#others(manifest)))',
  },
  'count-claimed-copy': {
    module: 'src/replication/intents.ts',
    find: "if (result !== 'proved') continue;",
    replace: "if (result === 'unreachable') continue;",
  },
  'stand-in-before-delay': {
    module: 'src/replication/absences.ts',
    find: 'if (forMs >= repairDelayMs) {',
    replace: 'if (forMs >= 0) {',
  },
  'believe-any-proof': {
    module: 'src/replication/replica-prover.ts',
    find: "if (Buffer.compare(answer, expected) === 0) return 'proved';",
    replace: "if (answer.length === expected.length) return 'proved';",
  },
  'sweep-what-is-wanted-again': {
    module: 'src/node/content/sweeper.ts',
    find: 'if (!this.#isDoomed(kv, doomed)) return false;\n    const free',
    replace: 'const free',
  },
  'complete-before-flush': {
    module: 'src/node/content/puller.ts',
    find: 'if (pull.hasLargeBlobs) await store.flush();',
    replace: '',
  },
} satisfies Record<string, SourceFault>;

export type SourceFaultName = keyof typeof sourceFaults;
