import { once } from 'node:events';
import { chooseFreePorts } from '../../src/swarm/ports.ts';
import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';

/** Twice V8's default rate: some thousand samples a second and thread, at a few hundredths of its time. */
const samplingMicroseconds = 500;
const answerMsMax = 60_000;

/** What V8's sampling profiler says, as far as it is used here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    /** Samples that found this function at work itself. */
    readonly hitCount?: number;
    readonly children?: readonly number[];
  }[];
}

/** One stretch of a node's life: what its main thread did, and the processor's microseconds it and all threads took. */
export interface Profiled<T> {
  readonly result: T;
  readonly profile: CpuProfile;
  readonly mainMicroseconds: number;
  readonly allMicroseconds: number;
}

/**
 * Runs something on one node whose main thread can be profiled; `profiled` profiles one stretch of that. The node's
 * inspector listens on a free port of this machine only.
 */
export async function withProfiledNode<R>(
  run: (node: RunningProcess, profiled: <T>(stretch: () => Promise<T>) => Promise<Profiled<T>>) => Promise<R>,
): Promise<R> {
  const [port] = await chooseFreePorts(1, []);
  const before = process.env.NODE_OPTIONS;
  const restore = (): void => {
    if (before === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = before;
  };
  process.env.NODE_OPTIONS = `${before ?? ''} --inspect=127.0.0.1:${port}`;
  try {
    return await withNodes(1, async ([node]) => {
      restore();
      const inspector = await Inspector.connect(`http://127.0.0.1:${port}/json/list`);
      try {
        return await run(node as RunningProcess, (stretch) => profile(inspector, stretch));
      } finally {
        inspector.close();
      }
    });
  } finally {
    restore();
  }
}

/** Shares of the samples in which anything was done at all, by what `stageOf` makes of each stack, the leaf first. */
export function sharesOf(
  { nodes }: CpuProfile,
  stageOf: (stack: readonly { readonly functionName: string; readonly url: string }[]) => string,
): ReadonlyMap<string, number> {
  const parents = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id] as const)));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const hits = new Map<string, number>();
  let total = 0;
  for (const { id, hitCount = 0, callFrame } of nodes) {
    if (hitCount === 0 || callFrame.functionName === '(idle)') continue;
    const stack = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const frame = byId.get(at)?.callFrame;
      if (frame !== undefined) stack.push(frame);
    }
    const stage = stageOf(stack);
    hits.set(stage, (hits.get(stage) ?? 0) + hitCount);
    total += hitCount;
  }
  return new Map(Array.from(hits, ([stage, count]) => [stage, count / total]));
}

async function profile<T>(inspector: Inspector, stretch: () => Promise<T>): Promise<Profiled<T>> {
  await inspector.call('Profiler.enable');
  await inspector.call('Profiler.setSamplingInterval', { interval: samplingMicroseconds });
  await inspector.call('Profiler.start');
  const before = await usage(inspector);
  const result = await stretch();
  const after = await usage(inspector);
  const { profile } = (await inspector.call('Profiler.stop')) as { profile: CpuProfile };
  return {
    result,
    profile,
    mainMicroseconds: after.main - before.main,
    allMicroseconds: after.all - before.all,
  };
}

async function usage(inspector: Inspector): Promise<{ readonly main: number; readonly all: number }> {
  const expression =
    '(() => { const sum = ({ user, system }) => user + system; return { main: sum(process.threadCpuUsage()), all: sum(process.cpuUsage()) }; })()';
  const answer = (await inspector.call('Runtime.evaluate', { expression, returnByValue: true })) as {
    readonly result: { readonly value: { readonly main: number; readonly all: number } };
  };
  return answer.result.value;
}

/** The Chrome DevTools protocol with one process, question by question. */
class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #asked = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const { id, result, error } = JSON.parse(String(data));
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(`the inspector answered: ${error.message}`));
    });
    socket.addEventListener('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the inspector has gone'));
    });
  }

  static async connect(listUrl: string): Promise<Inspector> {
    const answer = await fetch(listUrl, { signal: AbortSignal.timeout(answerMsMax) });
    const [target] = (await answer.json()) as { readonly webSocketDebuggerUrl: string }[];
    if (target === undefined) throw new Error('the process has no inspector');
    const socket = new WebSocket(target.webSocketDebuggerUrl);
    await once(socket, 'open', { signal: AbortSignal.timeout(answerMsMax) });
    return new Inspector(socket);
  }

  async call(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#asked;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    const timer = setTimeout(() => answer.reject(new Error(`no answer to ${method}`)), answerMsMax);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return answer.promise.finally(() => clearTimeout(timer));
  }

  close(): void {
    this.#socket.close();
  }
}
