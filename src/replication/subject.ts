import type { BlobHash, DocId, VersionId } from '../../crdt/ids.ts';

/** A version whose content is kept: what placement, audit and repair are about. */
export interface Subject {
  readonly doc: DocId;
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  /** Of its content. */
  readonly manifest: BlobHash;
  readonly sizeBytes: number;
}
