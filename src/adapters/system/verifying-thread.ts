import { parentPort } from 'node:worker_threads';
import { type SignedDigest, verifySignature } from '../../../crdt/signature.ts';

/** The thread of `ThreadVerifier`: verifies what it is sent, batch by batch. */
parentPort?.on('message', ({ task, signed }: { task: number; signed: readonly SignedDigest[] }) => {
  const holds = signed.map(({ publicKey, domain, digest, signature }) =>
    verifySignature(publicKey, domain, digest, signature),
  );
  parentPort?.postMessage({ task, holds });
});
