import { describe, expect, it } from 'vitest';
import type { NodeId } from '../../../../crdt/ids.ts';
import { type LifeSign, LivenessTable, type LivenessTimes } from '../../../../src/node/membership/liveness.ts';
import { paceOf } from '../../../../src/node/membership/settings.ts';

const times: LivenessTimes = {
  suspectAfterMs: 15_000,
  offlineAfterMs: 60_000,
  returnBeats: 2,
  returnConnectedMs: 5_000,
};
const bob = 'b'.repeat(26) as NodeId;

/** A watcher of one node, in seconds. */
class Watcher {
  readonly #table = new LivenessTable(() => times, 0);
  #now = 0;
  readonly seen: string[] = [];

  constructor() {
    this.#table.setMembers([{ nodeId: bob, draining: false }], 0);
  }

  /** Looks every second until then. */
  until(seconds: number): this {
    for (; this.#now < seconds; ) {
      this.#now = Math.min(seconds, this.#now + 1);
      this.#note(this.#table.look(this.#now * 1_000));
    }
    return this;
  }

  hears(sign: LifeSign): this {
    this.#note(this.#table.notice(bob, sign, this.#now * 1_000));
    return this;
  }

  drains(draining: boolean): this {
    this.#note(this.#table.setMembers([{ nodeId: bob, draining }], this.#now * 1_000));
    return this;
  }

  #note(transitions: ReturnType<LivenessTable['look']>): void {
    for (const { to, atMs } of transitions) this.seen.push(`${to} at ${atMs / 1_000}`);
  }
}

const watcher = (): Watcher => new Watcher();

describe('a node', () => {
  it('is online from the first heartbeat or connection, suspect after 15 s of silence, offline after 60', () => {
    expect(watcher().until(2).hears('beat').until(100).seen).toEqual(['online at 2', 'suspect at 17', 'offline at 62']);
    expect(watcher().hears('connected').until(100).seen).toEqual(['online at 0', 'suspect at 20', 'offline at 65']);
  });

  it('that was never seen is offline after 60 s', () => {
    expect(watcher().until(100).seen).toEqual(['offline at 60']);
  });

  it('comes back with the second heartbeat, and not with two that are far apart', () => {
    const lost = () => watcher().hears('beat').until(20);
    expect(lost().hears('beat').until(24).hears('beat').seen.at(-1)).toBe('online at 24');
    expect(lost().hears('beat').until(37).hears('beat').until(38).seen.at(-1)).toBe('suspect at 15');
    const offline = watcher().hears('beat').until(70).hears('beat');
    expect(offline.seen.at(-1)).toBe('offline at 60');
    expect(offline.until(75).hears('beat').seen.at(-1)).toBe('online at 75');
  });

  it('comes back with a connection that has held for 5 s, and not with one that is lost sooner', () => {
    const lost = () => watcher().hears('beat').until(20).hears('connected');
    expect(lost().until(26).seen.at(-1)).toBe('online at 25');
    expect(lost().until(24).hears('disconnected').until(59).seen.at(-1)).toBe('suspect at 15');
  });

  it('is not kept alive by a connection that merely stays open', () => {
    const frozen = watcher().hears('connected').hears('beat').until(200);
    expect(frozen.seen).toEqual(['online at 0', 'suspect at 20', 'offline at 65']);
  });

  it('that takes its leave is suspect at once, and offline in its time', () => {
    const left = watcher().hears('beat').until(3).hears('farewell').until(100);
    expect(left.seen).toEqual(['online at 0', 'suspect at 3', 'offline at 63']);
  });

  it('that drains is shown so while it lives', () => {
    const drained = watcher().hears('beat').until(2).drains(true).until(20).drains(false).hears('beat').until(22);
    expect(drained.seen).toEqual(['online at 0', 'draining at 2', 'suspect at 15']);
    expect(drained.drains(true).hears('beat').seen.at(-1)).toBe('draining at 22');
    expect(drained.drains(false).seen.at(-1)).toBe('online at 22');
  });
});

describe('the pace of heartbeats', () => {
  it('is 5 s, and slower only in a mesh so large that 40 a second would be heard', () => {
    expect(paceOf(20, {})).toMatchObject({
      intervalMs: 5_000,
      times: { suspectAfterMs: 15_000, offlineAfterMs: 60_000 },
    });
    expect(paceOf(1_000, {})).toMatchObject({
      intervalMs: 25_000,
      times: { suspectAfterMs: 75_000, offlineAfterMs: 300_000 },
    });
  });

  it('leaves no node suspect before three heartbeats are missing, whatever is wished for', () => {
    expect(paceOf(5, { suspectAfterMs: 1_000, heartbeatIntervalMs: 2_000 }).times.suspectAfterMs).toBe(6_000);
    expect(paceOf(5, { heartbeatIntervalMs: 100, suspectAfterMs: 500, offlineAfterMs: 2_000 })).toMatchObject({
      intervalMs: 125,
      times: { suspectAfterMs: 500, offlineAfterMs: 2_000 },
    });
  });
});
