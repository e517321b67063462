import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type SignedDigest, verifySignature } from '../../../crdt/signature.ts';
import type { Verifier } from '../../ports/verifier.ts';
import { packSignatures } from './packed-signatures.ts';

/**
 * Fewer than these are verified here, in half a millisecond: handing them over and waking two threads costs about as much, and
 * is not worth it where other processes want the processors too.
 */
const handedOverMin = 9;
/** Signatures that may wait for the thread; what comes beyond them is verified here, which slows its sender down. */
const handedOverMax = 4_096;
/** Verified here in one turn of the event loop: some two milliseconds of it. */
const perTurnMax = 16;

interface Task {
  readonly signed: readonly SignedDigest[];
  readonly resolve: (holds: boolean[]) => void;
}

/**
 * Verifies on a thread of its own, started when there is first something to verify. What is asked in one turn of the
 * event loop, in many small parts, is handed over as one.
 */
export class ThreadVerifier implements Verifier {
  /** What the thread has, by the number it was handed over with. */
  readonly #tasks = new Map<number, readonly Task[]>();
  #gathered: Task[] = [];
  #worker: Worker | undefined;
  #lastTask = 0;
  #handedOver = 0;
  #closed = false;

  verify(signed: readonly SignedDigest[]): Promise<boolean[]> {
    if (this.#closed || signed.length === 0) return Promise.resolve(signed.map(holds));
    if (this.#handedOver + signed.length > handedOverMax) return verifyInTurns(signed);
    return new Promise((resolve) => {
      if (this.#gathered.length === 0) void setImmediate().then(() => this.#handOver());
      this.#handedOver += signed.length;
      this.#gathered.push({ signed, resolve });
    });
  }

  #handOver(): void {
    const tasks = this.#gathered;
    this.#gathered = [];
    const signed = tasks.flatMap((task) => task.signed);
    if (signed.length < handedOverMin) {
      this.#verifyHere(tasks);
      return;
    }
    this.#worker ??= this.#start();
    this.#lastTask += 1;
    this.#tasks.set(this.#lastTask, tasks);
    const packed = packSignatures(signed);
    this.#worker.postMessage({ task: this.#lastTask, packed }, [packed.bytes.buffer, packed.domainOf.buffer]);
  }

  #verifyHere(tasks: readonly Task[]): void {
    for (const { signed, resolve } of tasks) {
      this.#handedOver -= signed.length;
      resolve(signed.map(holds));
    }
  }

  /** Ends the thread; what it still had is verified here. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    this.#verifyHere(this.#gathered.splice(0));
    this.#takeBack();
    await worker?.terminate();
  }

  #start(): Worker {
    const name = import.meta.url.endsWith('.ts') ? './verifying-thread.ts' : './verifying-thread.js';
    const worker = new Worker(new URL(name, import.meta.url), { execArgv: [], stdout: false });
    // A process that ends by itself does not wait for it.
    worker.unref();
    worker.on('message', ({ task, holds: answer }: { task: number; holds: Uint8Array }) => {
      const done = this.#tasks.get(task) ?? [];
      this.#tasks.delete(task);
      let next = 0;
      for (const { signed, resolve } of done) {
        this.#handedOver -= signed.length;
        resolve(Array.from(answer.subarray(next, next + signed.length), (held) => held === 1));
        next += signed.length;
      }
    });
    // Such as when there is no memory for it: then the work is done here, and the next batch tries again.
    worker.on('error', () => this.#takeBack());
    worker.on('exit', () => this.#takeBack());
    return worker;
  }

  #takeBack(): void {
    const tasks = [...this.#tasks.values()].flat();
    this.#worker = undefined;
    this.#tasks.clear();
    this.#verifyHere(tasks);
  }
}

async function verifyInTurns(signed: readonly SignedDigest[]): Promise<boolean[]> {
  const all: boolean[] = [];
  for (let start = 0; start < signed.length; start += perTurnMax) {
    if (start > 0) await setImmediate();
    all.push(...signed.slice(start, start + perTurnMax).map(holds));
  }
  return all;
}

function holds({ publicKey, domain, digest, signature }: SignedDigest): boolean {
  return verifySignature(publicKey, domain, digest, signature);
}
