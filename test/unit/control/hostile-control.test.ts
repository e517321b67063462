import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeLogLine } from '../../../crdt/control/checkpoint.ts';
import { decodeEntry, encodeEntry } from '../../../crdt/control/entry.ts';
import { toBase32 } from '../../../crdt/digest.ts';
import {
  type ControlRequest,
  type ControlResponse,
  controlProtocol,
  decodeControlRequest,
  decodeControlResponse,
  encodeControlMessage,
} from '../../../protocols/control/messages.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import type { MemoryNetwork } from '../../../src/adapters/memory/network.ts';
import { ControlMesh } from '../../support/control-mesh.ts';
import { accepted } from '../../support/versions.ts';

let mesh: ControlMesh;
let network: MemoryNetwork;

beforeEach(async () => {
  mesh = new ControlMesh(['a', 'b', 'c', 'mallory'], 3);
  for (const name of ['a', 'b', 'c']) await mesh.startNode(name);
  network = await mesh.impersonate('mallory');
  await mesh.settle();
});
afterEach(async () => {
  await network.stop();
  await mesh.stop();
});

const tipOf = (name: string) => {
  const { seq, hash } = mesh.get(name).node.cluster.entries({ limit: 1_000 }).entries.at(-1) ?? { seq: 0, hash: '' };
  return { seq, hash };
};

/** Answers a node's questions about the log as `answer` says. */
function serve(answer: (request: ControlRequest) => ControlResponse | Uint8Array): void {
  network.handle(controlProtocol, async (stream) => {
    const channel = new Channel(stream, { clock: mesh.clock });
    for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
      const request = decodeControlRequest(bytes);
      if (!request.ok) throw new Error(request.error);
      const said = answer(request.value);
      await channel.send(said instanceof Uint8Array ? said : encodeControlMessage(said));
    }
    await channel.end();
  });
}

/** Says something to node a as a client would, and hands back what it answers. */
async function ask(message: Uint8Array): Promise<ControlResponse | 'reset'> {
  const stream = await mesh.run(network.open(mesh.get('a').peerId, controlProtocol));
  const channel = new Channel(stream, { clock: mesh.clock });
  try {
    await mesh.run(channel.send(message));
    const bytes = await mesh.run(channel.receive());
    const decoded = decodeControlResponse(bytes ?? new Uint8Array());
    return decoded.ok ? decoded.value : 'reset';
  } catch {
    return 'reset';
  }
}

const warned = (event: string): number => mesh.get('a').log.lines.filter((line) => line.event === event).length;

/** Lets a know of a longer log, so that it asks for it. */
const lure = (seq: number) =>
  ask(encodeControlMessage({ t: 'tip', tip: { seq, hash: toBase32(new Uint8Array(32).fill(7)) } }));

describe('a member that lies about the control log', () => {
  it.each([
    ['changes what an entry says', (text: string) => text.replace('"replicas":2', '"replicas":3')],
    ['gives another reason', (text: string) => text.replace('"reason":"why"', '"reason":"not"')],
  ])('gets nothing in when it %s', async (_, change) => {
    mesh.partition(['a'], ['b', 'c']);
    await mesh.settle();
    const policy = { type: 'namespace', ns: 'docs', policy: { replicas: 2 } } as const;
    accepted(await mesh.change('c', policy, { reason: 'why' }));
    const [certified] = mesh.get('c').node.cluster.entries({}).entries;
    if (certified === undefined) throw new Error('nothing was committed');
    const entry = accepted(encodeEntry(certified.entry));
    const forged = accepted(decodeEntry(change(entry.text)));
    let lines = [encodeLogLine({ entry: forged, certificate: certified.certificate })];
    serve(() => ({ t: 'entries', tip: tipOf('c'), lines }));
    await lure(1);
    await mesh.settle(500);
    expect(mesh.seq('a')).toBe(0);
    expect(warned('control:refused')).toBeGreaterThan(0);
    // The very entry, from the very same peer, is taken: it proves itself.
    lines = [encodeLogLine({ entry, certificate: certified.certificate })];
    await lure(1);
    await mesh.settle(500);
    expect(mesh.seq('a')).toBe(1);
  });

  it.each<[string, (request: ControlRequest) => ControlResponse | Uint8Array]>([
    ['rubbish', () => Uint8Array.of(1, 2, 3)],
    ['lines that are none', () => ({ t: 'entries', tip: { seq: 9, hash: 'a'.repeat(52) }, lines: ['{}'] })],
    ['another answer', () => ({ t: 'candidate', text: null })],
    ['a longer log without entries', () => ({ t: 'entries', tip: { seq: 9, hash: 'a'.repeat(52) }, lines: [] })],
  ])('is given up when it answers with %s', async (_, answer) => {
    serve(answer);
    await lure(9);
    await mesh.settle(500);
    expect(mesh.seq('a')).toBe(0);
    expect(warned('control:not_followed')).toBe(1);
    expect(await mesh.change('a', { type: 'namespace', ns: 'docs', policy: {} })).toMatchObject({ ok: true });
  });

  it('that cannot ask is cut short, and others are answered', async () => {
    expect(await ask(Uint8Array.of(0xff, 0x00))).toBe('reset');
    expect(await ask(encodeControlMessage({ t: 'entries', after: -1 } as ControlRequest))).toBe('reset');
    expect(await ask(encodeControlMessage({ t: 'entries', after: 9_000_000_000 }))).toMatchObject({ lines: [] });
    expect(await ask(encodeControlMessage({ t: 'candidate', hash: 'a'.repeat(52) }))).toMatchObject({ text: null });
  });
});
