import { expect, test, vi } from 'vitest';
import { rawHash } from '../../../crdt/digest.ts';
import type { VersionId } from '../../../crdt/ids.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import { decodeVersion, type Version } from '../../../crdt/version.ts';
import { decodeSyncResponse, encodeSyncMessage, type SyncResponse } from '../../../protocols/sync/messages.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { SystemClock } from '../../../src/adapters/system/clock.ts';
import type { ContentPlane } from '../../../src/node/content/content-plane.ts';
import type { Incarnation } from '../../../src/node/incarnation.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { SlotTrees } from '../../../src/node/slot-trees.ts';
import { SyncView } from '../../../src/node/sync-view.ts';
import type { Kv } from '../../../src/ports/kv.ts';
import { syncExchange } from '../../support/sync-exchange.ts';
import { accepted, testCluster, testNode, write } from '../../support/versions.ts';

vi.setConfig({ testTimeout: 60_000 });

const length = 10_000;
const held = { kept: SlotSet.all(16), whole: SlotSet.all(16) };

/** A store with one object of a long history, that counts the rows read between two turns of the event loop. */
async function longHistory() {
  const kv = new MemoryKv(new VirtualClock());
  const objects = new ObjectStore({ cluster: testCluster, slots: 16 });
  let last: Version | undefined;
  for (let count = 0; count < length; count += 500) {
    await kv.transact((transaction) => {
      for (let index = 0; index < 500; index += 1) {
        last = write(testNode('writer'), last === undefined ? [] : [last]);
        objects.append(transaction, last);
      }
    });
  }
  const reads = { all: 0, inTurn: 0, inTurnMost: 0 };
  const counted = {
    get(key: Uint8Array) {
      reads.all += 1;
      reads.inTurn += 1;
      reads.inTurnMost = Math.max(reads.inTurnMost, reads.inTurn);
      return kv.get(key);
    },
  } as unknown as Kv;
  const clock = new (class extends SystemClock {
    override sleep(delayMs: number): Promise<void> {
      reads.inTurn = 0;
      return super.sleep(delayMs);
    }
  })();
  const incarnation = {} as Incarnation;
  const content = { small: () => undefined } as unknown as ContentPlane;
  const trees = new SlotTrees({ kv: counted, clock, log: new MemoryLog(), states: objects });
  const view = new SyncView({ kv: counted, objects, incarnation, content, slots: held, trees });
  return { view, clock, reads, doc: objects.documentId('docs', 'notes/today.txt') };
}

test('a newcomer is sent a long history, parents first, without the event loop being held by it', async () => {
  const { view, clock, reads, doc } = await longHistory();
  const { channel, served } = syncExchange(view, clock);
  const got = new Set<string>();
  let have: VersionId[] = [];
  for (let more = true; more; ) {
    const wants = [{ doc: rawHash(doc), have: have.map((id) => rawHash(id)) }];
    await channel.send(encodeSyncMessage({ t: 'records', wants, along: 0 }));
    let response: SyncResponse;
    do {
      response = accepted(decodeSyncResponse((await channel.receive()) ?? new Uint8Array(0)));
      for (const text of response.t === 'records' ? response.texts : []) {
        const { id, record } = accepted(decodeVersion(text));
        expect(record.parents.every((parent) => got.has(parent))).toBe(true);
        got.add(id);
        have = [id];
      }
    } while (response.t !== 'done');
    more = response.more;
  }
  await channel.end();
  await served;
  expect(got.size).toBe(length);
  expect(reads.inTurnMost).toBeLessThan(500);
  expect(reads.all).toBeLessThan(2.5 * length);
});
