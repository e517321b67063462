import { isHash } from '../../../crdt/digest.ts';
import { type DocId, type NodeId, ok, type VersionId } from '../../../crdt/ids.ts';
import { checkKey, checkNamespace } from '../../../crdt/object-name.ts';
import type { QuorumEngine } from '../../../protocols/quorum/engine.ts';
import type { Outcome as Decided, QuorumView } from '../../../protocols/quorum/register-kind.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Network } from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';
import type { Confirmation, ConfirmInput, Outcome, QuorumStatus, WrittenVersion } from '../api.ts';
import type { EventRecorder } from '../event-recorder.ts';
import { newestHead } from '../object-reader.ts';
import type { ObjectStore } from '../object-store.ts';
import { refuse } from '../refusals.ts';
import type { ObjectRow } from '../rows.ts';
import type { Certificates } from './certificates.ts';
import { ConfirmationWorker, type ProvedContent } from './confirmation-worker.ts';
import { QuorumWatch } from './quorum-watch.ts';

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly objects: ObjectStore;
  readonly certificates: Certificates;
  readonly engine: Pick<QuorumEngine, 'propose' | 'restoredCoordinators'>;
  readonly recorder: EventRecorder;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly view: () => QuorumView;
  readonly writesUnderWay: () => number;
  readonly copies: ProvedContent;
}

/** A write that waits for its confirmation. */
export interface FreshWrite {
  readonly signal?: AbortSignal | undefined;
  /** Resolves when the version is on disk and was told of here, and rejects when it will not be. */
  readonly flushed: Promise<void>;
}

/** The confirmed heads of objects, as the node's callers see them: asking for one, waiting for one, and how it stands. */
export class Confirmations {
  readonly #dependencies: Dependencies;
  readonly #worker: ConfirmationWorker;
  readonly #watch: QuorumWatch;

  constructor(dependencies: Dependencies, options: { readonly nodeId: NodeId }) {
    const { network, engine, view, recorder, log } = dependencies;
    this.#dependencies = dependencies;
    this.#watch = new QuorumWatch({
      nodeId: options.nodeId,
      network,
      view,
      restored: () => engine.restoredCoordinators(),
      changed: (state) => {
        recorder.record({ type: 'quorum', data: state });
        log.info('quorum:changed', { ...state });
        if (state.available) this.#worker.retry();
      },
    });
    this.#worker = new ConfirmationWorker({ ...dependencies, available: () => this.#watch.state().available }, options);
  }

  /** Called once the engine runs, before the network starts. */
  start(): void {
    this.#watch.start();
    this.#worker.start();
  }

  /** Ends what waits for a quorum; nobody is kept waiting by it any more. */
  async stop(): Promise<void> {
    this.#watch.stop();
    await this.#worker.stop();
    await this.#dependencies.certificates.idle();
  }

  /** An object has changed, and that is on disk. */
  changed(doc: DocId, row: ObjectRow): void {
    this.#worker.changed(doc, row);
  }

  /** The coordinators have changed. */
  epochChanged(): void {
    this.#watch.look();
    this.#worker.retry();
  }

  status(): QuorumStatus {
    return { ...this.#watch.state(), pending: this.#worker.pending, waitingForCopies: this.#worker.waitingForCopies };
  }

  /** Has a version confirmed that is being written with commit mode `quorum`: see `FreshWrite`. */
  async settle(doc: DocId, written: WrittenVersion, fresh: FreshWrite): Promise<Outcome<WrittenVersion>> {
    const decided = await this.#worker.confirm(doc, written.version, { ...fresh, isFresh: true });
    const refused = refusalOf(decided, written.version, { ...written });
    return refused ?? ok({ ...written, state: 'confirmed' });
  }

  /** Asks for a version of an object to be confirmed; the newest when none is named. */
  async confirm(input: ConfirmInput): Promise<Outcome<Confirmation>> {
    const { kv, objects } = this.#dependencies;
    const { ns, key } = input;
    const badNamespace = checkNamespace(ns);
    if (badNamespace !== undefined) return refuse('invalid_namespace', badNamespace);
    const badKey = checkKey(key);
    if (badKey !== undefined) return refuse('invalid_key', badKey);
    const doc = objects.documentId(ns, key);
    const row = objects.object(kv, doc);
    if (row === undefined) return refuse('not_found', `there is no object ${ns}/${key} here`);
    const version = this.#versionOf(doc, row, input);
    if (!version.ok) return version;
    if (!objects.isConfirmed(kv, row, version.value)) {
      const decided = await this.#worker.confirm(doc, version.value, { signal: input.signal });
      const refused = refusalOf(decided, version.value, { version: version.value });
      if (refused !== undefined) return refused;
    }
    return this.#confirmationOf(doc, { ns, key, version: version.value });
  }

  #versionOf(doc: DocId, row: ObjectRow, { ns, key, version }: ConfirmInput): Outcome<VersionId> {
    const { kv, objects } = this.#dependencies;
    if (version === undefined) return ok(newestHead(row, objects.ancestry(kv)));
    if (!isHash(version)) return refuse('invalid_version', `'${version}' is not a version id`);
    const found = objects.version(kv, version as VersionId);
    if (found === undefined || objects.documentId(found.record.ns, found.record.key) !== doc) {
      return refuse('version_not_found', `${ns}/${key} has no version ${version} here`);
    }
    return ok(found.id);
  }

  #confirmationOf(
    doc: DocId,
    object: { readonly ns: string; readonly key: string; readonly version: VersionId },
  ): Outcome<Confirmation> {
    const certificate = this.#dependencies.certificates.ofConfirmedHead(doc);
    if (certificate === null) {
      return refuse(
        'quorum_unavailable',
        'it is confirmed, but the confirmed head has not arrived here yet; ask again',
        {
          version: object.version,
        },
      );
    }
    const { head, position } = certificate.statement;
    return ok({ ...object, state: 'confirmed', confirmedHead: head as VersionId, position, certificate });
  }
}

/** What a caller is told of a head that was not confirmed; undefined for one that was. */
function refusalOf(
  decided: Decided,
  version: VersionId,
  detail: Readonly<Record<string, unknown>>,
): ReturnType<typeof refuse> | undefined {
  if (decided.kind === 'confirmed') return undefined;
  if (decided.kind === 'refused') {
    const message = `version ${version} is stored as a branch: ${decided.refusal.message}`;
    return refuse('not_a_descendant', message, detail);
  }
  const why =
    decided.reason === 'no_majority'
      ? 'too few coordinators can be reached from here'
      : 'no quorum of coordinators answered in time';
  const message = `${why}; version ${version} is stored as provisional, nothing is lost, and it is confirmed as soon as a quorum is back`;
  return refuse('quorum_unavailable', message, detail);
}
