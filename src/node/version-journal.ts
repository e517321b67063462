import type { DocId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import type { KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { DocumentCompactor } from './document-compactor.ts';
import type { EventBody, EventLog } from './event-log.ts';
import type { Appended, ObjectStore } from './object-store.ts';
import type { ObjectRow } from './rows.ts';

/** What one transaction added, to be announced once it is on disk. */
export interface JournalEntry {
  readonly appended: readonly Appended[];
  readonly lastEvent: number;
}

/**
 * The one way a version becomes part of this node, written here or received: rows and events in one
 * transaction, and afterwards what is announced. It raises a conflict exactly when a version made an object's heads
 * more, so hearing of the same versions again is silent, across restarts too.
 */
export class VersionJournal {
  readonly #objects: ObjectStore;
  readonly #events: EventLog;
  readonly #compactor: Pick<DocumentCompactor, 'changed'>;
  readonly #changed: (doc: DocId, row: ObjectRow) => void;
  readonly #log: Log;
  readonly #accepted: Counter;
  readonly #raised: Counter;
  readonly #reused: Counter;

  constructor(dependencies: {
    readonly objects: ObjectStore;
    readonly events: EventLog;
    readonly compactor: Pick<DocumentCompactor, 'changed'>;
    /** An object has changed, and that is on disk. */
    readonly changed: (doc: DocId, row: ObjectRow) => void;
    readonly log: Log;
    readonly metrics: Metrics;
  }) {
    const { metrics } = dependencies;
    this.#objects = dependencies.objects;
    this.#events = dependencies.events;
    this.#compactor = dependencies.compactor;
    this.#changed = dependencies.changed;
    this.#log = dependencies.log;
    this.#accepted = metrics.counter({
      name: 'anabranch_versions_accepted_total',
      help: 'Versions added to this node, written here or received.',
      labels: ['kind'],
    });
    this.#raised = metrics.counter({
      name: 'anabranch_conflicts_raised_total',
      help: 'Times an object came to have more heads, two at least.',
    });
    this.#reused = metrics.counter({
      name: 'anabranch_dots_reused_total',
      help: 'Versions whose dot another version of the object already had.',
    });
  }

  /** Adds checked versions, parents before children, with what happened to each object as a whole. */
  append(transaction: KvTransaction, versions: readonly Version[]): JournalEntry {
    const appended = this.#objects.appendAll(transaction, versions);
    const lastEvent = this.#events.append(transaction, [
      ...appended.flatMap(versionEvents),
      ...conflictEvents(appended),
    ]);
    return { appended, lastEvent };
  }

  /** To be called once the entry's transaction is on disk. */
  publish(entry: JournalEntry): void {
    for (const { version, doc, row, dotReused } of entry.appended) {
      this.#objects.remember(version);
      this.#compactor.changed(doc, row);
      this.#changed(doc, row);
      this.#accepted.add(1, { kind: version.record.kind });
      if (!dotReused) continue;
      const { ns, key, node, dot } = version.record;
      this.#reused.add(1);
      this.#log.error('dot:reused', { ns, key, version: version.id, node, actor: dot.actor, counter: dot.counter });
    }
    this.#raised.add(conflictEvents(entry.appended).length);
    this.#events.publish(entry.lastEvent);
  }
}

function versionEvents({ version, headsAfter, row, isConfirmed }: Appended): EventBody[] {
  const { ns, key, kind, node } = version.record;
  const event: EventBody = { type: 'version', data: { ns, key, version: version.id, kind, node, heads: headsAfter } };
  return isConfirmed ? [event, ...confirmedEvents(row)] : [event];
}

/** That an object's confirmed head is another one now. */
export function confirmedEvents({ ns, key, confirmed }: ObjectRow): EventBody[] {
  if (confirmed === undefined) return [];
  return [{ type: 'confirmed', data: { ns, key, version: confirmed.id, position: confirmed.position } }];
}

/**
 * One conflict an object whose heads became more with any of what was added to it, and are two or more after all of it:
 * one that ended and one that began may come together, and one that is over already is not told of.
 */
function conflictEvents(appended: readonly Appended[]): EventBody[] {
  const changes = new Map<DocId, { readonly isRaised: boolean; readonly last: Appended }>();
  for (const change of appended) {
    const isRaised = change.headsAfter.length > Math.max(1, change.headsBefore.length);
    changes.set(change.doc, { isRaised: isRaised || changes.get(change.doc)?.isRaised === true, last: change });
  }
  const events: EventBody[] = [];
  for (const { isRaised, last } of changes.values()) {
    if (!isRaised || last.headsAfter.length < 2) continue;
    const { ns, key } = last.version.record;
    events.push({ type: 'conflict', data: { ns, key, heads: last.headsAfter, preferred: last.preferred } });
  }
  return events;
}
