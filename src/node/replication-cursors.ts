import { isHash } from '../../crdt/digest.ts';
import type { BlobHash, DocId, VersionId } from '../../crdt/ids.ts';
import { isNodeId } from '../../crdt/node-name.ts';
import type { PlanPlace, PreviewPlace } from '../../protocols/replicas/views.ts';

/** Where pages go on, as text that goes through an address unchanged. */

export function planCursor({ isWaiting, provedCopies, sizeBytes, manifest, to, version }: PlanPlace): string {
  return [isWaiting ? 'waiting' : 'due', provedCopies, sizeBytes, manifest, to, version].join('.');
}

/** What `planCursor` made; undefined for anything else. */
export function parsePlanCursor(text: string): PlanPlace | undefined {
  const [when = '', proved = '', size = '', manifest = '', to = '', version = '', ...rest] = text.split('.');
  const isOne =
    rest.length === 0 &&
    /^(waiting|due)$/.test(when) &&
    isCount(proved) &&
    isCount(size) &&
    areHashes(manifest, version);
  if (!isOne || !isNodeId(to)) return undefined;
  return {
    isWaiting: when === 'waiting',
    provedCopies: Number(proved),
    sizeBytes: Number(size),
    manifest: manifest as BlobHash,
    to,
    version: version as VersionId,
  };
}

export function previewCursor({ doc, version }: PreviewPlace): string {
  return `${doc}.${version}`;
}

/** What `previewCursor` made; undefined for anything else. */
export function parsePreviewCursor(text: string): PreviewPlace | undefined {
  const [doc = '', version = '', ...rest] = text.split('.');
  if (rest.length > 0 || !areHashes(doc, version)) return undefined;
  return { doc: doc as DocId, version: version as VersionId };
}

function isCount(text: string): boolean {
  return /^(0|[1-9]\d{0,15})$/.test(text) && Number.isSafeInteger(Number(text));
}

function areHashes(...texts: readonly string[]): boolean {
  return texts.every(isHash);
}
