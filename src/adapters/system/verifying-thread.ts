import { parentPort } from 'node:worker_threads';
import { type PackedSignatures, verifyPacked } from './packed-signatures.ts';

/** The thread of `ThreadVerifier`: verifies what it is sent, batch by batch. */
parentPort?.on('message', ({ task, packed }: { task: number; packed: PackedSignatures }) => {
  const holds = verifyPacked(packed);
  parentPort?.postMessage({ task, holds }, [holds.buffer]);
});
