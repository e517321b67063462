import { SlotSet } from '../../crdt/slot-set.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { serveRequests } from '../wire/requests.ts';
import type { ConflictsQuery, ObjectsQuery } from './client.ts';
import {
  type ConflictsPage,
  conflictHeadsMax,
  decodeMetadataRequest,
  encodeMetadataMessage,
  type MetadataRequest,
  type MetadataResponse,
  type ObjectsPage,
} from './messages.ts';

/** What the answering side reads. */
export interface MetadataSource {
  /** The slots that are here whole. */
  whole(): SlotSet;
  /** A page of what is in these slots, well within a message; undefined for a question that no page answers. */
  objects(query: Omit<ObjectsQuery, 'slots'>, slots: SlotSet): ObjectsPage | undefined;
  conflicts(query: Omit<ConflictsQuery, 'slots'>, slots: SlotSet): ConflictsPage | undefined;
}

/**
 * Answers a peer's questions about listings on one stream, one after the other, until the peer ends it. Rejects with the
 * channel's `MeshError`; a request that cannot be read or answered is a `protocol_violation`.
 */
export async function serveMetadata(
  stream: ByteStream,
  source: MetadataSource,
  dependencies: { readonly clock: Clock },
): Promise<void> {
  await serveRequests(
    stream,
    {
      protocol: 'metadata',
      decode: decodeMetadataRequest,
      answer: (channel, request) => channel.send(encodeMetadataMessage(answer(source, request))),
    },
    dependencies,
  );
}

function answer(source: MetadataSource, request: MetadataRequest): MetadataResponse {
  const whole = source.whole();
  const slots = SlotSet.decode(request.slots, whole.count);
  if (slots === undefined) throw new MeshError('protocol_violation', 'the peer named slots that there are not');
  if (slots.minus(whole).size > 0) return { t: 'elsewhere' };
  const { t, slots: _, ...query } = request;
  if ('delimiter' in query) {
    const page = source.objects(query, slots);
    if (page !== undefined) return { t: 'objects', ...page };
  } else {
    const page = source.conflicts(query, slots);
    if (page !== undefined) return { t: 'conflicts', ...page, conflicts: page.conflicts.map(shortened) };
  }
  throw new MeshError('protocol_violation', `a question about ${t} that has no answer`);
}

function shortened(conflict: ConflictsPage['conflicts'][number]): ConflictsPage['conflicts'][number] {
  return { ...conflict, heads: conflict.heads.slice(0, conflictHeadsMax) };
}
