/** A line of production code, and what a deliberate fault puts in its place. */
interface SourceEdit {
  /** The module's path from the project's root. */
  readonly module: string;
  /** Text that occurs exactly once in it. */
  readonly find: string;
  readonly replace: string;
}

/** A fault in one place, or one that shows only when more than one place is wrong in the same way. */
export interface SourceFault extends SourceEdit {
  readonly also?: readonly SourceEdit[];
}

/**
 * Deliberate faults that are modules gone wrong. They are put in place while a test's worker process loads the module;
 * production knows nothing of them.
 */
export const sourceFaults = {
  'write-on-as-before': {
    module: 'src/node/record-intake.ts',
    find: 'if (dot.actor !== incarnation.actor) return;',
    replace: 'if (dot.counter > 0) return;',
  },
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
  'accept-forged-certificate': {
    module: 'src/node/confirmation/certificates.ts',
    find: 'signed[at] !== undefined && holds[at]',
    replace: 'signed[at] !== undefined',
  },
  'confirm-without-majority': {
    module: 'crdt/certificate.ts',
    find: 'return Math.floor(coordinators / 2) + 1;',
    replace: 'return Math.min(1, coordinators);',
  },
  'call-any-write-confirmed': {
    module: 'src/node/confirmation/confirmations.ts',
    find: "return refused ?? ok({ ...written, state: 'confirmed' });",
    replace: "return refused === undefined || refused ? ok({ ...written, state: 'confirmed' }) : refused;",
  },
  'count-too-few-accepts': {
    module: 'crdt/quorum/proposer.ts',
    find: 'const majority = majorityOf(round.settings.coordinators.length);',
    replace: 'const majority = 1;',
  },
  // Who proposes counts too few votes for an entry, and who reads its certificate does so too.
  'admin-entry-without-majority': {
    module: 'crdt/quorum/proposer.ts',
    find: 'const majority = majorityOf(round.settings.coordinators.length);',
    replace:
      "const { register, coordinators } = round.settings; const majority = register === 'control-log' ? 1 : majorityOf(coordinators.length);",
    also: [
      {
        module: 'crdt/certificate.ts',
        find: 'if (signatures.length < majorityOf(coordinators.length)) return undefined;',
        replace:
          'if (statement.register !== controlLogRegister && signatures.length < majorityOf(coordinators.length)) return undefined;',
      },
    ],
  },
  'forget-promises-at-start': {
    module: 'src/node/confirmation/acceptor-store.ts',
    find: 'return this.transact(({ restored }) => !restored);',
    replace: `return this.transact((votes) => {
      for (const [register] of votes.listAccepted(0, null, 4_096).registers)
        votes.setState(register, { ...votes.state(register), promised: null });
      return !votes.restored;
    });`,
  },
  'vote-on-when-restored': {
    module: 'src/node/confirmation/acceptor-store.ts',
    find: '{ ...this.#row, restored: true, identity };',
    replace: '{ ...this.#row, identity };',
  },
  'call-it-carried-over': {
    module: 'src/control/carry-over.ts',
    find: 'complete: epoch === 1 }',
    replace: 'complete: true }',
  },
  'refuse-what-may-be-chosen': {
    module: 'src/control/submitter.ts',
    find: "      case 'lost':\n        return 'open';",
    replace: "      case 'lost':\n        return unavailable(operationId);",
  },
  'drop-unproved-copy': {
    module: 'src/replication/content-dropper.ts',
    find: 'this.#judge(manifest, this.#believed(proofs.get(manifest)))',
    replace: 'this.#judge(manifest, everybody(this.#others(manifest)))',
  },
  'wait-for-what-cannot-be-met': {
    module: 'src/replication/content-dropper.ts',
    find: "return isMetByAll ? refusal : 'unmet_policy';",
    replace: 'return refusal;',
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
    find: "if (Buffer.compare(answer, expected) === 0) return { result: 'proved' };",
    replace: "if (answer.length === expected.length) return { result: 'proved' };",
  },
  'sweep-what-is-wanted-again': {
    module: 'src/node/content/sweeper.ts',
    find: 'if (!this.#isDoomed(kv, doomed)) return false;\n    const free',
    replace: 'const free',
  },
  'tell-of-no-conflict': {
    module: 'src/node/version-journal.ts',
    find: 'if (!isRaised || last.headsAfter.length < 2) continue;',
    replace: 'if (isRaised || last.headsAfter.length < 2) continue;',
  },
  'tell-of-conflicts-again': {
    module: 'src/node/version-journal.ts',
    find: 'if (!isRaised || last.headsAfter.length < 2) continue;',
    replace: 'if (last.headsAfter.length < 2) continue;',
  },
  'leave-timers-behind': {
    module: 'src/node/sync-worker.ts',
    find: 'sync?.cancelTimer();',
    replace: '',
  },
  'name-one-parent-in-a-change': {
    module: 'src/node/object-store.ts',
    find: 'const change = buildChange(version, parents);',
    replace: 'const change = buildChange(version, parents.slice(0, 1));',
  },
  'count-one-of-many': {
    module: 'src/node/object-store.ts',
    find: 'all.map(({ counted }) => counted),',
    replace: 'all.slice(0, 1).map(({ counted }) => counted),',
  },
  'complete-before-flush': {
    module: 'src/node/content/puller.ts',
    find: 'if (pull.hasLargeBlobs) await store.flush();',
    replace: '',
  },
} satisfies Record<string, SourceFault>;

export type SourceFaultName = keyof typeof sourceFaults;
