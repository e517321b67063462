import type { DocId } from '../../crdt/ids.ts';
import { type ObjectDocument, openDocument } from '../../crdt/object-document.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { ObjectStore } from './object-store.ts';
import type { ObjectRow } from './rows.ts';

/** Bytes of stored documents held open at once; in memory they are several times as large. */
const openBytesMax = 8 * 1_048_576;

interface OpenDocument {
  readonly document: ObjectDocument;
  /** What it was loaded from: `versions` of the object's row at that time. */
  readonly versions: number;
  readonly bytes: number;
}

interface Dependencies {
  readonly kv: Kv;
  readonly objects: ObjectStore;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * The Automerge documents that are open, least recently used out first. A document is a view of the records: one
 * that cannot be loaded is reported and built anew from them.
 */
export class OpenDocuments {
  readonly #dependencies: Dependencies;
  readonly #open = new Map<DocId, OpenDocument>();
  readonly #rebuilt: Counter;
  #bytes = 0;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#rebuilt = dependencies.metrics.counter({
      name: 'anabranch_documents_rebuilt_total',
      help: 'Documents that could not be loaded and were built anew from their records.',
    });
  }

  /** An object's document as it is now, or undefined when there is no such object. It stays open for the cache to free. */
  async get(doc: DocId): Promise<ObjectDocument | undefined> {
    const { kv, objects } = this.#dependencies;
    const row = objects.object(kv, doc);
    if (row === undefined) return undefined;
    const known = this.#open.get(doc);
    if (known?.versions === row.versions) {
      this.#open.delete(doc);
      this.#open.set(doc, known);
      return known.document;
    }
    this.#close(doc);
    const opened = await this.#load(doc, row);
    this.#open.set(doc, opened);
    this.#bytes += opened.bytes;
    for (const oldest of this.#open.keys()) {
      if (this.#bytes <= openBytesMax || oldest === doc) break;
      this.#close(oldest);
    }
    return opened.document;
  }

  /** Frees every document. */
  clear(): void {
    for (const doc of [...this.#open.keys()]) this.#close(doc);
  }

  async #load(doc: DocId, row: ObjectRow): Promise<OpenDocument> {
    const { kv, objects, log } = this.#dependencies;
    try {
      return openedFrom(objects.documentParts(kv, doc), row);
    } catch (error) {
      this.#rebuilt.add(1);
      log.error('document:rebuilt', { doc, ns: row.ns, key: row.key, error });
    }
    const rebuilt = await kv.transact((transaction) => {
      objects.unfold(transaction, doc);
      return { parts: objects.documentParts(transaction, doc), row: objects.object(transaction, doc) ?? row };
    });
    return openedFrom(rebuilt.parts, rebuilt.row);
  }

  #close(doc: DocId): void {
    const open = this.#open.get(doc);
    if (open === undefined) return;
    this.#open.delete(doc);
    this.#bytes -= open.bytes;
    open.document.free();
  }
}

/** Loads a document and checks that it is the one the object's row tells of. Throws when it is not. */
function openedFrom(parts: readonly Uint8Array[], row: ObjectRow): OpenDocument {
  const document = openDocument(parts);
  const heads = document.heads();
  if (heads.length !== row.heads.length || row.heads.some((head, index) => head.id !== heads[index])) {
    document.free();
    throw new MeshError('corrupt', 'the stored document has other heads than its object');
  }
  return { document, versions: row.versions, bytes: parts.reduce((sum, part) => sum + part.length, 0) };
}
