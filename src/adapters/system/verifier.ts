import { Worker } from 'node:worker_threads';
import { type SignedDigest, verifySignature } from '../../../crdt/signature.ts';
import type { Verifier } from '../../ports/verifier.ts';

/** Fewer than these are verified at once: handing them over would take as long. */
const handedOverMin = 4;
/** Signatures that may be with the thread; what comes beyond them is verified here, which slows its sender down. */
const handedOverMax = 4_096;

interface Task {
  readonly signed: readonly SignedDigest[];
  readonly resolve: (holds: boolean[]) => void;
}

/** Verifies on a thread of its own, started when there is first something to verify. */
export class ThreadVerifier implements Verifier {
  readonly #tasks = new Map<number, Task>();
  #worker: Worker | undefined;
  #lastTask = 0;
  #handedOver = 0;
  #closed = false;

  verify(signed: readonly SignedDigest[]): Promise<boolean[]> {
    if (this.#closed || signed.length < handedOverMin || this.#handedOver + signed.length > handedOverMax) {
      return Promise.resolve(signed.map(holds));
    }
    return new Promise((resolve) => {
      this.#worker ??= this.#start();
      this.#lastTask += 1;
      this.#handedOver += signed.length;
      this.#tasks.set(this.#lastTask, { signed, resolve });
      this.#worker.postMessage({ task: this.#lastTask, signed });
    });
  }

  /** Ends the thread; what it still had is verified here. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    this.#takeBack();
    await worker?.terminate();
  }

  #start(): Worker {
    const name = import.meta.url.endsWith('.ts') ? './verifying-thread.ts' : './verifying-thread.js';
    const worker = new Worker(new URL(name, import.meta.url), { execArgv: [], stdout: false });
    // A process that ends by itself does not wait for it.
    worker.unref();
    worker.on('message', ({ task, holds: answer }: { task: number; holds: boolean[] }) => {
      const done = this.#tasks.get(task);
      if (done === undefined) return;
      this.#tasks.delete(task);
      this.#handedOver -= done.signed.length;
      done.resolve(answer);
    });
    // Such as when there is no memory for it: then the work is done here, and the next batch tries again.
    worker.on('error', () => this.#takeBack());
    worker.on('exit', () => this.#takeBack());
    return worker;
  }

  #takeBack(): void {
    const tasks = [...this.#tasks.values()];
    this.#worker = undefined;
    this.#tasks.clear();
    this.#handedOver = 0;
    for (const { signed, resolve } of tasks) resolve(signed.map(holds));
  }
}

function holds({ publicKey, domain, digest, signature }: SignedDigest): boolean {
  return verifySignature(publicKey, domain, digest, signature);
}
