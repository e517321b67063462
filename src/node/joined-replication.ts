import { placementNodes } from '../../crdt/control/placement-nodes.ts';
import type { NodeId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import type { ControlLog } from '../control/control-log.ts';
import type { WriteIntent } from '../replication/loaded-intents.ts';
import { Replication, type ReplicationDependencies, type ReplicationSettings } from '../replication/replication.ts';
import { changeFeed } from './change-feed.ts';
import type { ContentPlane } from './content/content-plane.ts';
import type { EventRecorder } from './event-recorder.ts';
import type { LivenessWatch } from './membership/liveness-watch.ts';
import type { NodeAdapters } from './node-parts.ts';
import type { ObjectStore } from './object-store.ts';

/** The parts of a node that replication stands on. */
export interface ReplicatedParts {
  readonly content: ContentPlane;
  readonly control: ControlLog;
  readonly objects: ObjectStore;
  readonly liveness: LivenessWatch;
  readonly recorder: EventRecorder;
  /** Free bytes of a member's disk as it said last. */
  readonly freeBytesOf: ReplicationDependencies['freeBytesOf'];
  /** Brings a version of a slot that this node does not hold; undefined when there is nothing to bring. */
  readonly bring: ReplicationDependencies['bring'];
}

/** Makes the replication of a node out of what the node has. */
export function joinReplication(
  adapters: NodeAdapters,
  parts: ReplicatedParts,
  { self, settings }: { readonly self: NodeId; readonly settings: ReplicationSettings },
): Replication {
  const { log } = adapters;
  const { control, objects, liveness, recorder, freeBytesOf, bring } = parts;
  return new Replication(
    {
      ...adapters,
      content: replicatedContent(adapters, parts),
      versions: {
        changedAfter: (reader, change, limit) => changeFeed.after(reader, change, limit),
        headsOf: (reader, doc) => objects.object(reader, doc)?.heads.map(({ id }) => id) ?? [],
        record: (reader, version) => objects.sound(reader, version)?.record,
      },
      liveness,
      state: () => control.state(),
      stateAt: (seq) => control.stateAt(seq),
      nodesOf: placementNodes,
      slotOf: (doc) => objects.slotOf(doc),
      bring,
      freeBytesOf,
      onFalseProof: ({ node, manifest }) => {
        log.error('replication:false_proof', { node, manifest });
        recorder.record({ type: 'replication', data: { status: 'false_proof', nodeId: node, manifest } });
      },
      onUnproved: ({ node, manifest }) => {
        log.warn('replication:unproved', { node, manifest });
        recorder.record({ type: 'replication', data: { status: 'unproved', nodeId: node, manifest } });
      },
    },
    { self, ...settings },
  );
}

/** What others are to hold of a version; undefined for one without content. */
export function intentOf({ id, record }: Version): WriteIntent | undefined {
  const { ns, key, content } = record;
  if (content === null) return undefined;
  return { ns, key, version: id, manifest: content.manifest, sizeBytes: content.size };
}

function replicatedContent(
  { kv, log }: NodeAdapters,
  { content }: ReplicatedParts,
): ReplicationDependencies['content'] {
  return {
    sizeOf: (reader, manifest) => content.sizeOf(reader, manifest),
    lend: (hash, sizeBytes) => content.lendBlob(hash, sizeBytes),
    giveBack: (bytes) => content.giveBackBlob(bytes),
    heldAfter: (...page) => content.heldAfter(...page),
    doubt: (manifest) => content.doubt(manifest),
    want: async (wanted) => {
      await kv.transact((transaction) => {
        for (const each of wanted) content.want(transaction, each.content, each.subject);
      });
      content.kick();
      // Whoever ordered it did not find it here.
      for (const { content: ordered } of wanted) if (content.holds(ordered)) content.doubt(ordered.manifest);
    },
    drop: (transaction, manifest) => content.drop(transaction, manifest),
    dropped: () => content.kick(),
    fetchFrom: (...asked) => content.fetchFrom(...asked),
    fetchedUntilMs: () => content.fetchedUntilMs(),
    reconsider: () => {
      content.reconsider().catch((error: unknown) => log.warn('content:not_reconsidered', { error }));
    },
  };
}
