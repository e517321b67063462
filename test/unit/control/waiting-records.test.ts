import { afterEach, expect, it } from 'vitest';
import { encodeLogLine } from '../../../crdt/control/checkpoint.ts';
import { encodeEntry } from '../../../crdt/control/entry.ts';
import type { Actor, ClusterId, PeerId, VersionId } from '../../../crdt/ids.ts';
import { signerFromSeed } from '../../../crdt/signature.ts';
import { draftVersion, signVersion } from '../../../crdt/version.ts';
import {
  type ControlResponse,
  controlProtocol,
  decodeControlRequest,
  encodeControlMessage,
} from '../../../protocols/control/messages.ts';
import { encodeGossip, gossipTopic, hintOf } from '../../../protocols/gossip/messages.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { WaitingRecords } from '../../../src/node/waiting-records.ts';
import { ControlMesh } from '../../support/control-mesh.ts';
import { accepted } from '../../support/versions.ts';

let mesh: ControlMesh | undefined;
afterEach(() => mesh?.stop());

it('a record that names an entry which is not here yet waits for it, and is taken in then', async () => {
  mesh = new ControlMesh(['a', 'b', 'writer'], 1);
  for (const name of ['a', 'b']) await mesh.startNode(name);
  const network = await mesh.impersonate('writer');
  await mesh.settle();
  mesh.partition(['a'], ['b']);
  await mesh.settle();
  const { seq, hash } = accepted(await mesh.change('a', { type: 'namespace', ns: 'docs', policy: {} }));
  const [entry] = mesh.get('a').node.cluster.entries({}).entries;
  if (entry === undefined) throw new Error('nothing was committed');
  const lines = [encodeLogLine({ entry: accepted(encodeEntry(entry.entry)), certificate: entry.certificate })];

  // The writer has the log and does not give it away yet.
  let answer: ControlResponse = { t: 'entries', tip: { seq: 0, hash }, lines: [] };
  let asked = 0;
  network.handle(controlProtocol, async (stream) => {
    const channel = new Channel(stream, { clock: (mesh as ControlMesh).clock });
    for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
      const request = accepted(decodeControlRequest(bytes));
      if (request.t === 'entries') asked += 1;
      await channel.send(encodeControlMessage(request.t === 'entries' ? answer : { t: 'tip', tip: { seq, hash } }));
    }
    await channel.end();
  });
  const { nodeId } = mesh.memberOf('writer');
  const cluster = mesh.get('a').node.cluster.checkpoint().cluster as ClusterId;
  const draft = accepted(
    draftVersion([], {
      ns: 'test',
      key: 'key',
      kind: 'delete',
      dot: { actor: `${nodeId}.${'a'.repeat(13)}` as Actor, counter: 1 },
      content: null,
      type: '',
      meta: {},
      author: 'ada',
      node: nodeId,
      time: 0,
      log: { seq, hash },
    }),
  );
  const version = signVersion(draft, signerFromSeed(mesh.keySeed('writer')), cluster);
  const objects = new ObjectStore({ cluster, slots: 16 });
  const doc = objects.documentId('test', 'key');
  const message = encodeGossip([hintOf(doc, [version.id], [Buffer.from(version.text)])]);
  await network.publish(gossipTopic(cluster, objects.slotOf(doc)), message);
  await mesh.settle(500);
  expect(mesh.heads('a', 'key')).toBe(1);
  expect(mesh.heads('b', 'key')).toBe(0);
  expect(asked).toBeGreaterThan(0);

  answer = { t: 'entries', tip: { seq, hash }, lines };
  const channel = new Channel(await mesh.run(network.open(mesh.get('b').peerId, controlProtocol)), mesh);
  await mesh.run(channel.send(encodeControlMessage({ t: 'tip', tip: { seq, hash } })));
  await mesh.until(() => mesh?.heads('b', 'key') === 1);
  expect(mesh.seq('b')).toBe(1);
  await network.stop();
});

it('the room drops what has waited longest, and gives out what can be judged', () => {
  const room = new WaitingRecords();
  const from = 'peer' as PeerId;
  const add = (name: string, seq: number, length = 1) =>
    room.add({ id: name as VersionId, text: new Uint8Array(length), from, seq });
  for (let at = 0; at < 10_001; at += 1) add(`${at}`, 1 + (at % 2));
  expect(room.size).toBe(10_000);
  add('10000', 1);
  expect(room.size).toBe(10_000);
  expect(room.takeUpTo(1).get(from)?.length).toBe(5_000);
  expect(room.takeUpTo(1).size).toBe(0);
  add('large', 9, 17 * 1_048_576);
  expect(room.size).toBe(0);
});
