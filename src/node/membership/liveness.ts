import type { NodeId } from '../../../crdt/ids.ts';

/** What is known of whether a node lives: nothing yet, that it does, that it may not, that it does not. */
type Life = 'unknown' | 'online' | 'suspect' | 'offline';

/** The state of a node in the eyes of another: `draining` is a living node whose content is to move elsewhere. */
export type LivenessState = Life | 'draining';

/** How long silence and signs of life have to last, in milliseconds. */
export interface LivenessTimes {
  /** Without a sign of life for so long, a node is suspect. */
  readonly suspectAfterMs: number;
  /** And after so long offline. More than the time to suspicion. */
  readonly offlineAfterMs: number;
  /** So many heartbeats in a row bring a silent node back, none of them longer than `suspectAfterMs` after the one before. */
  readonly returnBeats: number;
  /** A connection is a sign of life once it has held for so long. */
  readonly returnConnectedMs: number;
}

/** What is known of one node, on the clock of who watches it. */
export interface NodeLife {
  readonly state: Life;
  /** Since when. */
  readonly sinceMs: number;
  /** The last sign of life; when the node became known, while there was none. */
  readonly lastSignMs: number;
  readonly lastBeatMs: number;
  /** Heartbeats in a row since the node fell silent. */
  readonly beats: number;
  /** Since when there is the connection that there is now. */
  readonly connectedMs: number | undefined;
  /** That connection was counted as a sign of life: once only, for an open connection shows no more than that nobody closed it. */
  readonly isCounted: boolean;
}

/** What a watcher notices of a node. `farewell` is its own last word, `watch` nothing but that time has passed. */
export type LifeSign = 'beat' | 'farewell' | 'connected' | 'disconnected' | 'watch';

/** A node of which nothing was seen yet. */
function unseen(nowMs: number): NodeLife {
  const never = Number.NEGATIVE_INFINITY;
  return {
    state: 'unknown',
    sinceMs: nowMs,
    lastSignMs: nowMs,
    lastBeatMs: never,
    beats: 0,
    connectedMs: undefined,
    isCounted: false,
  };
}

/**
 * What is known of a node after one more sign, or after so much time without: one transition at the most. The first
 * sign of a node is believed; once it has fallen silent, it takes several to bring it back, so that one stray
 * message moves nothing.
 */
function nextLife(life: NodeLife, sign: LifeSign, nowMs: number, times: LivenessTimes): NodeLife {
  switch (sign) {
    case 'beat':
      return beaten(life, nowMs, times);
    case 'farewell': {
      const heard = { ...life, lastSignMs: nowMs, beats: 0 };
      return life.state === 'offline' ? heard : turned(heard, 'suspect', nowMs);
    }
    case 'connected': {
      const connected = { ...life, connectedMs: nowMs, isCounted: false };
      return life.state === 'unknown' ? turned({ ...connected, lastSignMs: nowMs }, 'online', nowMs) : connected;
    }
    case 'disconnected':
      return { ...life, connectedMs: undefined };
    case 'watch':
      return watched(life, nowMs, times);
  }
}

function beaten(life: NodeLife, nowMs: number, times: LivenessTimes): NodeLife {
  const isInRow = nowMs - life.lastBeatMs <= times.suspectAfterMs;
  const heard = { ...life, lastSignMs: nowMs, lastBeatMs: nowMs };
  if (life.state === 'online' || life.state === 'unknown') return turned(heard, 'online', nowMs);
  const beats = isInRow ? life.beats + 1 : 1;
  return beats >= times.returnBeats ? turned(heard, 'online', nowMs) : { ...heard, beats };
}

function watched(life: NodeLife, nowMs: number, times: LivenessTimes): NodeLife {
  const { state, connectedMs, isCounted } = life;
  if (connectedMs !== undefined && !isCounted && nowMs - connectedMs >= times.returnConnectedMs) {
    return turned({ ...life, isCounted: true, lastSignMs: nowMs }, 'online', nowMs);
  }
  const silentMs = nowMs - life.lastSignMs;
  if (state === 'online' && silentMs >= times.suspectAfterMs) return turned(life, 'suspect', nowMs);
  if ((state === 'suspect' || state === 'unknown') && silentMs >= times.offlineAfterMs) {
    return turned(life, 'offline', nowMs);
  }
  return life;
}

function turned(life: NodeLife, state: Life, nowMs: number): NodeLife {
  return life.state === state ? life : { ...life, state, sinceMs: nowMs, beats: 0 };
}

/** A node's state has changed in the eyes of the node that watches. */
export interface Transition {
  readonly nodeId: NodeId;
  readonly from: LivenessState;
  readonly to: LivenessState;
  /** On the monotonic clock. */
  readonly atMs: number;
}

interface Watched {
  readonly life: NodeLife;
  readonly draining: boolean;
}

/** Part of the time to suspicion for which this node may have stood still itself before it doubts its own watching. */
const stallShare = 3;

/**
 * The lives of all other members. Every method is told the time and gives the transitions that followed; `look` has to be called every
 * few seconds. Time in which this node itself stood still (a closed lid, a debugger) is no silence of the others.
 */
export class LivenessTable {
  readonly #times: () => LivenessTimes;
  readonly #nodes = new Map<NodeId, Watched>();
  #lookedMs: number;

  constructor(times: () => LivenessTimes, nowMs: number) {
    this.#times = times;
    this.#lookedMs = nowMs;
  }

  /** Who is watched from now on: others are forgotten, and new ones have not been seen yet. */
  setMembers(members: Iterable<{ readonly nodeId: NodeId; readonly draining: boolean }>, nowMs: number): Transition[] {
    this.#pass(nowMs);
    const transitions: Transition[] = [];
    const gone = new Set(this.#nodes.keys());
    for (const { nodeId, draining } of members) {
      gone.delete(nodeId);
      const life = this.#nodes.get(nodeId)?.life ?? unseen(nowMs);
      if (this.#nodes.has(nodeId)) transitions.push(...this.#put(nodeId, { life, draining }, nowMs));
      else this.#nodes.set(nodeId, { life, draining });
    }
    for (const nodeId of gone) this.#nodes.delete(nodeId);
    return transitions;
  }

  /** Takes a sign of a node in; one of a node that is not watched changes nothing. */
  notice(nodeId: NodeId, sign: LifeSign, nowMs: number): Transition[] {
    this.#pass(nowMs);
    const watched = this.#nodes.get(nodeId);
    if (watched === undefined) return [];
    const life = nextLife(watched.life, sign, nowMs, this.#times());
    return this.#put(nodeId, { ...watched, life }, nowMs);
  }

  /** Sees who has been silent for too long, and whose connection has held. */
  look(nowMs: number): Transition[] {
    this.#pass(nowMs);
    const transitions: Transition[] = [];
    const times = this.#times();
    for (const nodeId of this.#nodes.keys()) {
      for (let before = this.#get(nodeId); ; before = this.#get(nodeId)) {
        const life = nextLife(before.life, 'watch', nowMs, times);
        if (life === before.life) break;
        transitions.push(...this.#put(nodeId, { ...before, life }, nowMs));
      }
    }
    return transitions;
  }

  /** Undefined for a node that is not watched. */
  stateOf(nodeId: NodeId): LivenessState | undefined {
    const watched = this.#nodes.get(nodeId);
    return watched === undefined ? undefined : stateOf(watched);
  }

  lifeOf(nodeId: NodeId): NodeLife | undefined {
    return this.#nodes.get(nodeId)?.life;
  }

  /** The nodes that are watched. */
  nodes(): Iterable<NodeId> {
    return this.#nodes.keys();
  }

  #get(nodeId: NodeId): Watched {
    const watched = this.#nodes.get(nodeId);
    if (watched === undefined) throw new Error(`node ${nodeId} is not watched`);
    return watched;
  }

  #put(nodeId: NodeId, after: Watched, atMs: number): Transition[] {
    const before = this.#get(nodeId);
    const [from, to] = [stateOf(before), stateOf(after)];
    const isDrainChange = from !== to && before.life.state === after.life.state;
    this.#nodes.set(nodeId, isDrainChange ? { ...after, life: { ...after.life, sinceMs: atMs } } : after);
    return from === to ? [] : [{ nodeId, from, to, atMs }];
  }

  /** Nobody was watched while this node stood still: what was measured then is moved on. */
  #pass(nowMs: number): void {
    const gapMs = nowMs - this.#lookedMs;
    this.#lookedMs = nowMs;
    if (gapMs <= this.#times().suspectAfterMs / stallShare) return;
    for (const [nodeId, watched] of this.#nodes) {
      const { life } = watched;
      this.#nodes.set(nodeId, {
        ...watched,
        life: {
          ...life,
          lastSignMs: life.lastSignMs + gapMs,
          lastBeatMs: life.lastBeatMs + gapMs,
          connectedMs: life.connectedMs === undefined ? undefined : life.connectedMs + gapMs,
        },
      });
    }
  }
}

function stateOf({ life, draining }: Watched): LivenessState {
  return draining && life.state === 'online' ? 'draining' : life.state;
}
