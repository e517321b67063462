import type { ServerResponse } from 'node:http';
import { MeshError } from '../ports/mesh-error.ts';

export interface ContentTransfer {
  readonly sizeBytes: number;
  /** Writes the head of the answer. */
  readonly begin: () => void;
  /** Told of the bytes as they are handed over. */
  readonly onSent: (bytes: number) => void;
}

/**
 * Writes `sizeBytes` of content as a response's body, at the client's pace and a chunk at a time. The last chunk
 * goes out with the end, so that a small object is one packet. `begin` is called right before the first byte: what fails
 * sooner can still be answered. When the content fails later, or is not as long as announced, the connection is destroyed:
 * the client sees a broken transfer, never a short one that looks whole.
 * Rejects with the reason; resolves quietly when the client has gone.
 */
export async function writeContent(
  response: ServerResponse,
  content: AsyncIterable<Uint8Array>,
  { sizeBytes, begin, onSent }: ContentTransfer,
): Promise<void> {
  let heldBack: Uint8Array | undefined;
  let bytes = 0;
  let hasBegun = false;
  const beginOnce = (): void => {
    if (!hasBegun) begin();
    hasBegun = true;
  };
  try {
    for await (const chunk of content) {
      bytes += chunk.length;
      if (bytes > sizeBytes) break;
      if (heldBack !== undefined) {
        beginOnce();
        if (!(await writeChunk(response, heldBack))) return;
        onSent(heldBack.length);
      }
      heldBack = chunk;
    }
    if (bytes !== sizeBytes) {
      throw new MeshError('corrupt', 'The content is not as long as its version says.', {
        detail: { sizeBytes, bytes },
      });
    }
    if (response.destroyed) return;
    beginOnce();
    response.end(heldBack);
    onSent(heldBack?.length ?? 0);
  } catch (error) {
    if (response.destroyed) return;
    if (hasBegun) response.destroy();
    throw error;
  }
}

/** Writes and waits for room. False when the client has gone. */
export async function writeChunk(response: ServerResponse, chunk: Uint8Array | string): Promise<boolean> {
  if (response.destroyed) return false;
  if (!response.write(chunk)) await roomOrClose(response);
  return !response.destroyed;
}

function roomOrClose(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}
