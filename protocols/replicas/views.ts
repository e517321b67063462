import type { z } from 'zod';
import { rawHash } from '../../crdt/digest.ts';
import type { BlobHash, DocId, NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import { idOf } from '../wire/ids.ts';
import type { viewRequests, viewResponses } from './view-messages.ts';

/** What is asked and told of replication in the whole mesh, with ids as text, and how that stands in messages. */

type Request<Type> = Extract<z.infer<(typeof viewRequests)[number]>, { t: Type }>;
type Response<Type> = Extract<z.infer<(typeof viewResponses)[number]>, { t: Type }>;

/** How replication stands at one node. */
export type StandingView = Omit<Response<'status'>, 't'>;
/** Something that may happen to the mesh. */
export type AskedChange = Request<'preview'>['change'];
/** How far an audit that was asked for is; null at a node that is no coordinator. */
export type AuditState = Response<'audit'>['state'];
/**
 * What drains from a node: contents on it, those that are not all proved elsewhere, their bytes, objects with a version that
 * the answerer cannot read (any content could be its), and whether the node was asked for this.
 */
export type DrainView = NonNullable<Response<'drain'>['progress']>;

/** A pull of a plan. */
export interface PlannedView {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  readonly manifest: BlobHash;
  readonly sizeBytes: number;
  readonly to: NodeId;
  readonly from: readonly NodeId[];
  readonly provedCopies: number;
  readonly isWaiting: boolean;
  /** Who is waited for, and for how many milliseconds still. */
  readonly waitsFor: readonly (readonly [node: NodeId, ms: number])[];
}

/** The place of a pull among those of plans. */
export type PlanPlace = Pick<PlannedView, 'isWaiting' | 'provedCopies' | 'sizeBytes' | 'manifest' | 'to' | 'version'>;

/** Some pulls of a plan, in its order, and whether there are more. */
export interface PlanView {
  readonly pulls: readonly PlannedView[];
  readonly isMore: boolean;
}

/** A copy of a content as a coordinator knows it. */
export interface CopyView {
  readonly nodeId: NodeId;
  readonly sizeBytes: number;
  /** When it was last proved, in milliseconds since the epoch, as far as this coordinator knows. */
  readonly provedMs: number | undefined;
  /** `own` is the coordinator's own copy, which it verified as it stored it. */
  readonly mark: 'listed' | 'suspect' | 'own';
}

/** Where a preview goes on. */
export interface PreviewPlace {
  readonly doc: DocId;
  readonly version: VersionId;
}

type MoveMessage = NonNullable<Response<'preview'>['page']>['moves'][number];

/** A version's content that a change would move. */
interface MoveView extends Pick<MoveMessage, 'ns' | 'key' | 'from' | 'to' | 'lacks'> {
  readonly version: VersionId;
  readonly sizeBytes: number;
}

/** What a node would gain and give up: contents and bytes that come, contents and bytes that go. */
type NodeMovesView = readonly [node: NodeId, contentsIn: number, bytesIn: number, out: number, bytesOut: number];

/** A page of what a change would move. */
export interface PreviewView {
  readonly moves: readonly MoveView[];
  readonly totals: NonNullable<Response<'preview'>['page']>['totals'];
  readonly nodes: readonly NodeMovesView[];
  readonly next: PreviewPlace | undefined;
}

/** What is asked of a preview: the change, where to go on, and how many moves to list. */
export interface PreviewQuestion {
  readonly change: AskedChange;
  readonly after: PreviewPlace | undefined;
  readonly movesMax: number;
}

/** What the answering side tells of the mesh. Undefined, or a null state, from a node that keeps no index, and to a peer that is no member. */
export interface ViewSource {
  status(peer: PeerId): StandingView;
  plan(peer: PeerId, after: PlanPlace | undefined): PlanView | undefined;
  audit(peer: PeerId, waitMs: number): Promise<AuditState>;
  copies(peer: PeerId, manifests: readonly BlobHash[]): readonly (readonly CopyView[])[] | undefined;
  drain(peer: PeerId, node: NodeId): Promise<DrainView | undefined>;
  preview(peer: PeerId, question: PreviewQuestion): Promise<PreviewView | undefined>;
}

type ViewRequest = z.infer<(typeof viewRequests)[number]>;
type ViewResponse = z.infer<(typeof viewResponses)[number]>;

/** Answers one question about the mesh. */
export async function answerView(source: ViewSource, request: ViewRequest, peer: PeerId): Promise<ViewResponse> {
  switch (request.t) {
    case 'status':
      return { t: 'status', ...source.status(peer) };
    case 'plan': {
      const view = source.plan(peer, request.after === null ? undefined : unpackPlace(request.after));
      return { t: 'plan', page: view === undefined ? null : { pulls: view.pulls.map(packPull), more: view.isMore } };
    }
    case 'audit':
      return { t: 'audit', state: await source.audit(peer, request.wait) };
    case 'copies': {
      const known = source.copies(peer, request.manifests.map(idOf<BlobHash>));
      return { t: 'copies', copies: known?.map((copies) => copies.map(packCopy)) ?? null };
    }
    case 'drain':
      return { t: 'drain', progress: (await source.drain(peer, request.node)) ?? null };
    case 'preview': {
      const { change, after, moves } = request;
      const view = await source.preview(peer, {
        change,
        after: after === null ? undefined : unpackPreviewPlace(after),
        movesMax: moves,
      });
      return { t: 'preview', page: view === undefined ? null : packPreview(view) };
    }
  }
}

type PullMessage = NonNullable<Response<'plan'>['page']>['pulls'][number];
type PlaceMessage = NonNullable<Request<'plan'>['after']>;
type CopyMessage = NonNullable<Response<'copies'>['copies']>[number][number];
type PreviewMessage = NonNullable<Response<'preview'>['page']>;
type PreviewPlaceMessage = NonNullable<PreviewMessage['next']>;

/** A pull as it stands in a message. */
export function packPull({ version, manifest, sizeBytes, provedCopies, isWaiting, waitsFor, ...pull }: PlannedView) {
  const { ns, key, to, from } = pull;
  const message: PullMessage = {
    ns,
    key,
    version: rawHash(version),
    manifest: rawHash(manifest),
    size: sizeBytes,
    to,
    from: [...from],
    proved: provedCopies,
    waiting: isWaiting,
    waits: waitsFor.map(([node, ms]) => [node, ms]),
  };
  return message;
}

/** What `packPull` packed. */
export function unpackPull({ ns, key, version, manifest, size, to, from, proved, waiting, waits }: PullMessage) {
  const pull: PlannedView = {
    ns,
    key,
    version: idOf(version),
    manifest: idOf(manifest),
    sizeBytes: size,
    to,
    from,
    provedCopies: proved,
    isWaiting: waiting,
    waitsFor: waits,
  };
  return pull;
}

/** A place in plans as it stands in a message. */
export function packPlace({ isWaiting, provedCopies, sizeBytes, manifest, to, version }: PlanPlace): PlaceMessage {
  return {
    waiting: isWaiting,
    proved: provedCopies,
    size: sizeBytes,
    manifest: rawHash(manifest),
    to,
    version: rawHash(version),
  };
}

/** What `packPlace` packed. */
export function unpackPlace({ waiting, proved, size, manifest, to, version }: PlaceMessage): PlanPlace {
  return {
    isWaiting: waiting,
    provedCopies: proved,
    sizeBytes: size,
    manifest: idOf(manifest),
    to,
    version: idOf(version),
  };
}

/** A copy as it stands in a message: a time of 0 is none. */
export function packCopy({ nodeId, sizeBytes, provedMs = 0, mark }: CopyView): CopyMessage {
  return [nodeId, sizeBytes, provedMs, mark];
}

/** What `packCopy` packed. */
export function unpackCopy([nodeId, sizeBytes, provedMs, mark]: CopyMessage): CopyView {
  return { nodeId, sizeBytes, provedMs: provedMs === 0 ? undefined : provedMs, mark };
}

/** Where a preview goes on, as it stands in a message. */
export function packPreviewPlace({ doc, version }: PreviewPlace): PreviewPlaceMessage {
  return { doc: rawHash(doc), version: rawHash(version) };
}

function unpackPreviewPlace({ doc, version }: PreviewPlaceMessage): PreviewPlace {
  return { doc: idOf(doc), version: idOf(version) };
}

/** A page of a preview as it stands in a message. */
export function packPreview({ moves, totals, nodes, next }: PreviewView): PreviewMessage {
  return {
    moves: moves.map(({ ns, key, version, sizeBytes, from, to, lacks }) => ({
      ns,
      key,
      version: rawHash(version),
      size: sizeBytes,
      from: [...from],
      to: [...to],
      lacks: [...lacks],
    })),
    totals,
    nodes: nodes.map(([node, ...counts]) => [node, ...counts]),
    next: next === undefined ? null : packPreviewPlace(next),
  };
}

/** What `packPreview` packed. */
export function unpackPreview({ moves, totals, nodes, next }: PreviewMessage): PreviewView {
  return {
    moves: moves.map(({ version, size, ...move }) => ({ ...move, version: idOf(version), sizeBytes: size })),
    totals,
    nodes,
    next: next === null ? undefined : unpackPreviewPlace(next),
  };
}
