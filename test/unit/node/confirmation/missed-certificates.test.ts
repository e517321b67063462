import { expect, test } from 'vitest';
import { type Certificate, encodeCertificate } from '../../../../crdt/certificate.ts';
import type { Actor, DocId, NodeId, PeerId } from '../../../../crdt/ids.ts';
import { MissedCertificates } from '../../../../src/node/confirmation/missed-certificates.ts';
import { registerOf } from '../../../support/quorum-mesh.ts';
import { actorOf, testNode } from '../../../support/versions.ts';

const [alice, bob] = ['alice', 'bob'] as unknown as [PeerId, PeerId];

function certificateOf(name: string, epoch: number): string {
  const head = registerOf(`head of ${name}`);
  const ballot = { counter: 1, proposer: actorOf(testNode('north')) as Actor };
  const certificate: Certificate = {
    statement: { v: 1, register: registerOf(name), epoch, position: 1, head, previous: null, ballot },
    signatures: [[testNode('north').nodeId as NodeId, 'A'.repeat(86)]],
  } as unknown as Certificate;
  return encodeCertificate(certificate);
}

/** Certificates that know epochs up to one, and what was asked for. */
function setUp(known = 1) {
  const asked: [PeerId, readonly DocId[]][] = [];
  const followed: PeerId[] = [];
  const node = { known, asked, followed, whileVerifying: async (): Promise<void> => undefined };
  const refuse = (text: string, from: PeerId): void => {
    if (JSON.parse(text).statement.epoch > node.known) missed.ahead(from);
  };
  const missed: MissedCertificates = new MissedCertificates({
    epoch: () => node.known,
    follow: (peer) => followed.push(peer),
    receive: async (texts, from) => {
      for (const text of texts) refuse(text, from);
      await node.whileVerifying();
      return undefined;
    },
    check: async (texts, from) => {
      for (const text of texts) refuse(text, from);
      return { certificates: [], fault: undefined };
    },
    certify: () => () => undefined,
    keep: async () => undefined,
    ask: (peer, docs) => asked.push([peer, docs]),
  });
  return { node, missed };
}

test('asks again for what came too early, from who had it, once the log knows its epoch', async () => {
  const { node, missed } = setUp();
  await missed.receive([certificateOf('a', 1), certificateOf('b', 2), certificateOf('c', 3)], alice);
  await missed.check([certificateOf('b', 2)], bob);
  expect(node.followed).toEqual([alice, alice, bob]);
  expect(node.asked).toEqual([]);
  node.known = 2;
  missed.epochReached(2);
  expect(node.asked).toEqual([
    [alice, [registerOf('b')]],
    [bob, [registerOf('b')]],
  ]);
  missed.epochReached(3);
  expect(node.asked.slice(2)).toEqual([[alice, [registerOf('c')]]]);
  missed.epochReached(4);
  expect(node.asked).toHaveLength(3);
});

test('asks at once when the log came while the others were being verified', async () => {
  const { node, missed } = setUp();
  node.whileVerifying = async () => {
    node.known = 2;
    missed.epochReached(2);
  };
  await missed.receive([certificateOf('b', 2)], alice);
  expect(node.asked).toEqual([[alice, [registerOf('b')]]]);
});

test('remembers no more than so many, whoever sends them', async () => {
  const { node, missed } = setUp();
  for (let sent = 0; sent < 5_000; sent += 500) {
    const texts = Array.from({ length: 500 }, (_, at) => certificateOf(String(sent + at), 2));
    await missed.receive(texts, sent % 1_000 === 0 ? alice : bob);
  }
  missed.epochReached(2);
  expect(node.asked.flatMap(([, docs]) => docs)).toHaveLength(4_096);
  await missed.receive([certificateOf('again', 3)], alice);
  missed.epochReached(3);
  expect(node.asked.at(-1)).toEqual([alice, [registerOf('again')]]);
});
