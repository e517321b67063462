import { afterEach, expect, test, vi } from 'vitest';
import { ReplicaMesh, type WrittenContent } from '../../support/replica-mesh.ts';

// Minutes of virtual time, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });

const minuteMs = 60_000;
/** The longest pause between two questions is a minute. */
const soonMs = 15_000;

let mesh: ReplicaMesh;
afterEach(() => mesh.stop());

const pending = (): number => mesh.get('north').replication.intents.pending;

/** Writes objects at one node while another, which is to hold some of them, is down; resolves once it asks seldom. */
async function writeWithout(missing: string, repairDelayMs: number): Promise<WrittenContent[]> {
  mesh = await ReplicaMesh.start({
    nodes: { north: {}, east: {}, south: {}, west: {}, home: {} },
    coordinators: ['north', 'east', 'south'],
    policy: { replicas: 2 },
    repairDelayMs,
  });
  await mesh.get(missing).stop();
  const written: WrittenContent[] = [];
  for (let index = 0; index < 12; index += 1) written.push(await mesh.write('north', `key ${index}`, `text ${index}`));
  await mesh.settle(4.5 * minuteMs);
  const waiting = written.filter((each) => mesh.desired(each).includes(missing));
  expect(waiting.length).toBeGreaterThan(0);
  expect(pending()).toBe(waiting.length);
  return waiting;
}

test('writes that have waited long are asked for soon again when the node they wait for is back', async () => {
  const waiting = await writeWithout('west', 60 * minuteMs);
  const { intents } = mesh.get('north').replication;
  expect(intents.waiting()).toEqual({ count: waiting.length, late: waiting.length });
  await mesh.get('west').restart({ isClean: true });
  await mesh.settle(soonMs);
  expect(intents.waiting()).toEqual({ count: 0, late: 0 });
  for (const each of waiting) expect(mesh.holders(each)).toContain('west');
  expect(pending()).toBe(0);
});

test('and when others stand in for it, since it counts as gone', async () => {
  const waiting = await writeWithout('west', 5 * minuteMs);
  await mesh.settle(minuteMs / 2 - 1_000);
  expect(pending()).toBe(waiting.length);
  await mesh.settle(soonMs);
  expect(pending()).toBe(0);
});
