import { capacityStepDefault, checkCapacity } from '../../crdt/control/capacity.ts';
import { checkLabels } from '../../crdt/control/member.ts';
import { isHash } from '../../crdt/digest.ts';
import { type NodeId, ok, type VersionId } from '../../crdt/ids.ts';
import { isNodeId } from '../../crdt/node-name.ts';
import { checkKey, checkNamespace } from '../../crdt/object-name.ts';
import type { Version } from '../../crdt/version.ts';
import { auditWaitMsMax, listedMovesMax, manifestsMax } from '../../protocols/replicas/limits.ts';
import type { AskedChange as ToldChange } from '../../protocols/replicas/views.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { GatheredCopy } from '../replication/mesh-merge.ts';
import type { Replication } from '../replication/replication.ts';
import type { Outcome } from './api.ts';
import type { MemberDirectory } from './member-directory.ts';
import type { ObjectStore } from './object-store.ts';
import { lackOf } from './policy-lacks.ts';
import { refuse } from './refusals.ts';
import type {
  AskedChange,
  AuditOutcome,
  AuditRequest,
  DrainStatus,
  MovePreview,
  ObjectPlacement,
  PlannedRepair,
  PresentNode,
  PreviewInput,
  RepairPlanPage,
  Replica,
  ReplicaPage,
  ReplicasInput,
  ReplicationAdmin,
  ReplicationStatus,
  UnansweredNode,
  VersionReplicas,
} from './replication-api.ts';
import { parsePlanCursor, parsePreviewCursor, planCursor, previewCursor } from './replication-cursors.ts';
import { meshStatusOf } from './replication-totals.ts';
import type { Slots } from './slots/slots.ts';

const repairsPerPageMax = 1_000;
const repairsPerPageDefault = 100;
/** Placement of a node that does not exist yet takes some id. */
const madeUpNode = 'a'.repeat(26) as NodeId;

export interface NodeReplicationDependencies {
  readonly replication: Pick<Replication, 'placement' | 'mesh' | 'absent'>;
  readonly members: Pick<MemberDirectory, 'byNode'>;
  readonly objects: ObjectStore;
  readonly slots: Pick<Slots, 'bring' | 'judged'>;
  readonly kv: Kv;
  readonly clock: Clock;
}

/** Where content should be and is, as the node's public face shows it: for the whole mesh, with names. */
export class NodeReplication implements ReplicationAdmin {
  readonly #dependencies: NodeReplicationDependencies;

  constructor(dependencies: NodeReplicationDependencies) {
    this.#dependencies = dependencies;
  }

  placement({ ns, key }: { readonly ns: string; readonly key: string }): Outcome<ObjectPlacement> {
    const badNamespace = checkNamespace(ns);
    if (badNamespace !== undefined) return refuse('invalid_namespace', badNamespace);
    const badKey = checkKey(key);
    if (badKey !== undefined) return refuse('invalid_key', badKey);
    const { replication } = this.#dependencies;
    const { placement } = replication;
    const { desired, substitutes } = placement.assigned(ns, key, replication.absent().gone);
    return ok({
      ns,
      key,
      policy: placement.map().policyOf(ns),
      desired: desired.holders.map((node) => this.#present(node)),
      substitutes: substitutes.map((node) => this.#present(node)),
      lacks: desired.lacks.map(lackOf),
    });
  }

  async preview({ change, after, limit = listedMovesMax }: PreviewInput): Promise<Outcome<MovePreview>> {
    const told = this.#told(change);
    if (!told.ok) return told;
    const place = after === undefined ? undefined : parsePreviewCursor(after);
    if (after !== undefined && place === undefined) return notAPlace;
    if (!Number.isInteger(limit) || limit < 1 || limit > listedMovesMax) {
      return refuse('invalid_request', `limit is a whole number from 1 to ${listedMovesMax}`);
    }
    const question = { change: told.value, after: place, movesMax: limit };
    const page = await this.#dependencies.replication.mesh.preview(question);
    if (page === undefined) return this.#nobodyAnswers();
    return ok({
      moves: page.moves.map(({ ns, key, version, sizeBytes, from, to, lacks }) => {
        return { ns, key, version, size: sizeBytes, from, to, lacks: lacks.map(lackOf) };
      }),
      totals: page.totals,
      nodes: page.nodes.map(([nodeId, contentsIn, bytesIn, contentsOut, bytesOut]) => {
        const name = this.#dependencies.members.byNode(nodeId)?.name ?? null;
        return { nodeId, name, contentsIn, bytesIn, contentsOut, bytesOut };
      }),
      next: page.next === undefined ? null : previewCursor(page.next),
    });
  }

  async status(): Promise<ReplicationStatus> {
    const { mesh } = this.#dependencies.replication;
    const { answers, unanswered } = await mesh.status();
    const auditors = answers.flatMap(({ nodeId, answer }) => {
      return answer.auditor === null ? [] : [{ nodeId, name: this.#nameOf(nodeId), auditor: answer.auditor }];
    });
    return meshStatusOf(auditors, mesh.here(), this.#unanswered(unanswered));
  }

  async plan({
    after,
    limit = repairsPerPageDefault,
  }: {
    after?: string;
    limit?: number;
  } = {}): Promise<Outcome<RepairPlanPage>> {
    const place = after === undefined ? undefined : parsePlanCursor(after);
    if (after !== undefined && place === undefined) return notAPlace;
    if (!Number.isInteger(limit) || limit < 1 || limit > repairsPerPageMax) {
      return refuse('invalid_request', `limit is a whole number from 1 to ${repairsPerPageMax}`);
    }
    const { clock, replication } = this.#dependencies;
    const { pulls, isMore, unanswered } = await replication.mesh.plan(limit, place);
    const nowMs = clock.nowMs();
    const last = pulls.at(-1);
    const repairs = pulls.map(({ ns, key, version, sizeBytes, to, from, provedCopies, isWaiting, waitsFor }) => {
      const until = nowMs + Math.max(0, ...waitsFor.map(([, ms]) => ms));
      const waiting = isWaiting ? { for: waitsFor.map(([node]) => node), until } : null;
      return { ns, key, version, size: sizeBytes, to, from, provedCopies, waiting } satisfies PlannedRepair;
    });
    const next = isMore && last !== undefined ? planCursor(last) : null;
    return ok({ repairs, next, unanswered: this.#unanswered(unanswered) });
  }

  async audit({ waitMs = 0 }: AuditRequest = {}): Promise<AuditOutcome> {
    const wait = Math.min(auditWaitMsMax, Math.max(0, Math.round(waitMs)));
    const { answers, unanswered } = await this.#dependencies.replication.mesh.audit(wait);
    const auditors = answers.map(({ nodeId, answer }) => ({ nodeId, name: this.#nameOf(nodeId), state: answer }));
    const complete = auditors.length > 0 && auditors.every(({ state }) => state === 'done');
    return {
      complete,
      auditors,
      status: complete ? await this.status() : null,
      unanswered: this.#unanswered(unanswered),
    };
  }

  async replicas(input: ReplicasInput): Promise<Outcome<ReplicaPage>> {
    const { ns, key, after, limit = manifestsMax } = input;
    const placed = this.placement(input);
    if (!placed.ok) return placed;
    if (!Number.isInteger(limit) || limit < 1 || limit > manifestsMax) {
      return refuse('invalid_request', `limit is a whole number from 1 to ${manifestsMax}`);
    }
    const { slots, replication } = this.#dependencies;
    const { version } = input;
    const bringing = slots.bring({ ns, key, ...(version === undefined ? {} : { version }) });
    if (bringing !== undefined) await bringing;
    const chosen = slots.judged(input, this.#versionsOf(input));
    if (!chosen.ok) return chosen;
    const start = after === undefined ? 0 : chosen.value.findIndex(({ id }) => id === after) + 1;
    if (after !== undefined && start === 0) return notAPlace;
    const rest = chosen.value.slice(start).filter(({ record }) => record.content !== null);
    const page = rest.slice(0, limit);
    const manifests = page.flatMap(({ record }) => record.content?.manifest ?? []);
    // Without a content there is nothing to ask about.
    const known = manifests.length === 0 ? { copies: [], unanswered: [] } : await replication.mesh.copies(manifests);
    const versions = page.flatMap((each, at) => this.#replicasOf(each, known.copies[at] ?? [], placed.value) ?? []);
    const next = rest.length > page.length ? (page.at(-1)?.id ?? null) : null;
    return ok({ ...placed.value, versions, next, unanswered: this.#unanswered(known.unanswered) });
  }

  async drainStatus(nodeId: string): Promise<Outcome<DrainStatus>> {
    const member = isNodeId(nodeId) ? this.#dependencies.members.byNode(nodeId) : undefined;
    if (member === undefined) return this.#unknown(nodeId);
    const { progress, intents, unanswered } = await this.#dependencies.replication.mesh.drain(member.nodeId);
    if (progress === undefined) return this.#nobodyAnswers();
    const draining = member.draining === true;
    const { contents, remaining, bytes, unreadable, current } = progress;
    return ok({
      ...this.#present(member.nodeId),
      draining,
      contents,
      remaining,
      remainingBytes: bytes,
      unreadable,
      intents: intents ?? null,
      safe: draining && current && remaining === 0 && unreadable === 0 && intents === 0,
      unanswered: this.#unanswered(unanswered),
    });
  }

  /** The version that is asked for, or all of them, the newest first. */
  #versionsOf({ ns, key, version }: ReplicasInput): Outcome<readonly Version[]> {
    const { objects, kv } = this.#dependencies;
    if (version !== undefined && !isHash(version)) {
      return refuse('invalid_version', `'${version}' is not a version id`);
    }
    const doc = objects.documentId(ns, key);
    if (objects.object(kv, doc) === undefined) return refuse('not_found', `there is no object ${ns}/${key} here`);
    if (version === undefined) return ok(objects.versions(kv, doc).reverse());
    const found = objects.version(kv, version as VersionId);
    if (found === undefined || found.record.ns !== ns || found.record.key !== key) {
      return refuse('version_not_found', `${ns}/${key} has no version ${version} here`);
    }
    if (found.record.content === null) return refuse('deleted', `version ${version} is a tombstone: it has no content`);
    return ok([found]);
  }

  #replicasOf(
    { id, record }: Version,
    copies: readonly GatheredCopy[],
    { desired, substitutes }: ObjectPlacement,
  ): VersionReplicas | undefined {
    if (record.content === null) return undefined;
    const targets = [...desired.filter(({ presence }) => presence !== 'gone'), ...substitutes];
    const wanted = new Set([...desired, ...substitutes].map(({ nodeId }) => nodeId));
    const holders = copies.map(({ nodeId, provedMs, isProved, isSuspect }): Replica => {
      return {
        ...this.#present(nodeId),
        desired: wanted.has(nodeId),
        proved: isProved && !isSuspect,
        provedAt: provedMs ?? null,
        suspect: isSuspect,
      };
    });
    const missing = targets.filter(({ nodeId }) => !holders.some((each) => each.nodeId === nodeId && !each.suspect));
    return { version: id, manifest: record.content.manifest, size: record.content.size, holders, missing };
  }

  /** A change as coordinators are told of it, or what is wrong with it. */
  #told(change: AskedChange): Outcome<ToldChange> {
    const fault =
      ('labels' in change && change.labels !== undefined ? checkLabels(change.labels) : undefined) ??
      ('capacity' in change && change.capacity !== undefined ? checkCapacity(change.capacity) : undefined);
    if (fault !== undefined) return refuse('invalid_request', fault);
    if (change.kind === 'join') {
      const { nodeId = madeUpNode, labels = {}, capacity = capacityStepDefault } = change;
      if (!isNodeId(nodeId)) return refuse('invalid_request', 'nodeId is not the id of a node; leave it out');
      return ok({ kind: 'join', node: nodeId, labels: { ...labels }, capacity });
    }
    const { nodeId } = change;
    if (!isNodeId(nodeId) || this.#dependencies.members.byNode(nodeId) === undefined) return this.#unknown(nodeId);
    switch (change.kind) {
      case 'labels':
        return ok({ kind: 'labels', node: nodeId, labels: { ...change.labels } });
      case 'capacity':
        return ok({ kind: 'capacity', node: nodeId, capacity: change.capacity });
      default:
        return ok({ kind: change.kind, node: nodeId });
    }
  }

  #present(nodeId: NodeId): PresentNode {
    const { gone, away } = this.#dependencies.replication.absent();
    const member = this.#dependencies.members.byNode(nodeId);
    const presence = gone.has(nodeId) ? 'gone' : away.has(nodeId) ? 'away' : 'online';
    return { nodeId, name: member?.name ?? nodeId, labels: member?.labels ?? {}, presence };
  }

  #nameOf(nodeId: NodeId): string {
    return this.#dependencies.members.byNode(nodeId)?.name ?? nodeId;
  }

  #unanswered(nodes: readonly NodeId[]): UnansweredNode[] {
    return nodes.map((node) => {
      const { nodeId, name, presence } = this.#present(node);
      return { nodeId, name, presence };
    });
  }

  #unknown(nodeId: string): ReturnType<typeof refuse> {
    return refuse('unknown_node', `there is no member ${nodeId}: "anabranch nodes" lists those there are`);
  }

  #nobodyAnswers(): ReturnType<typeof refuse> {
    return refuse(
      'coordinators_unavailable',
      'no coordinator answers, and only they know where content is: see "anabranch nodes", or ask a node that reaches one',
    );
  }
}

const notAPlace = refuse('invalid_request', 'after is where a page ended, as its next gave it');
