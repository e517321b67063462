import { describe, expect, it } from 'vitest';
import type { Certificate, Statement } from '../../crdt/certificate.ts';
import { linkHash } from '../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { KvAcceptorStore } from '../../src/node/confirmation/acceptor-store.ts';
import { actorOf, testCluster, testNode } from '../support/versions.ts';
import type { World } from './checkers/checker.ts';
import type { ControlHistory } from './checkers/control-history.ts';
import { RegisterLinks } from './checkers/register-links.ts';
import type { Machine } from './machine.ts';

const names = ['north', 'east', 'south'];
const register = toBase32(blake3(Buffer.from('register')));
const hash = (text: string): string => toBase32(blake3(Buffer.from(text)));

interface Disk {
  readonly member: { readonly nodeId: string };
  kv: MemoryKv;
  hadAnotherDisk: boolean;
}

/** Three coordinators whose disks are all that is looked at, and the links that their certificates make. */
function three() {
  const clock = new VirtualClock();
  const disks = new Map<string, Disk>(
    names.map((name) => {
      return [name, { member: testNode(name), kv: new MemoryKv(clock, { name }), hadAnotherDisk: false }];
    }),
  );
  const voters = names.map(testNode);
  const history = { state: { epoch: 1 }, votersOf: (epoch: number) => (epoch === 1 ? voters : undefined) };
  const world = { cluster: testCluster, machines: disks } as unknown as World;
  const all = new RegisterLinks(world, history as unknown as ControlHistory);
  const machineOf = (name: string): Machine => disks.get(name) as unknown as Machine;
  const links = {
    take: (certificate: Certificate, by = 'north') => all.take(certificate, machineOf(by)),
    reconsider: (name = 'north') => all.reconsider(machineOf(name)),
  };
  return { disks, links };
}

function statementOf(head: string, counter: number, more: Partial<Statement> = {}): Statement {
  const ballot = { counter, proposer: actorOf(testNode('north')) };
  return { v: 1, register, epoch: 1, position: 1, head: hash(head), previous: null, ballot, ...more };
}

const certificateOf = (statement: Statement, ...by: string[]): Certificate => {
  const signatures = by.map((name) => [testNode(name).nodeId, new Uint8Array(64)] as const);
  return { statement, signatures } as unknown as Certificate;
};

/** Has coordinators vote for a statement, each on its own disk. */
async function vote(disks: ReadonlyMap<string, Disk>, statement: Statement, by: readonly string[]): Promise<void> {
  const { position, head, previous, ballot, epoch } = statement;
  for (const name of by) {
    const { kv } = disks.get(name) as Disk;
    await new KvAcceptorStore(kv).transact((votes) => {
      votes.setState(register, { promised: ballot, accepted: { ballot, epoch, value: { position, head, previous } } });
    });
  }
}

/** Puts an empty disk in, or one that tells that it is another. */
function exchange(disks: ReadonlyMap<string, Disk>, name: string, { unnoticed = true } = {}): void {
  const disk = disks.get(name) as Disk;
  const clock = new VirtualClock();
  disk.kv = unnoticed ? new MemoryKv(clock, { name }) : disk.kv.restore(disk.kv.snapshot());
  disk.hadAnotherDisk = true;
}

describe('two heads at one position', () => {
  const first = statementOf('one', 1);
  const second = statementOf('other', 2);

  it('are a fault while every majority has somebody who knows of the first', async () => {
    const { disks, links } = three();
    await vote(disks, first, names);
    expect(links.take(certificateOf(first)).kind).toBe('first');
    expect(links.take(certificateOf(first)).kind).toBe('known');
    exchange(disks, 'south');
    links.reconsider();
    expect(links.take(certificateOf(second)).kind).toBe('fault');
  });

  it('are a fault of whoever forgets without that a disk was exchanged', async () => {
    const { disks, links } = three();
    await vote(disks, first, names);
    links.take(certificateOf(first));
    for (const name of names) (disks.get(name) as Disk).kv = new MemoryKv(new VirtualClock(), { name });
    links.reconsider();
    expect(links.take(certificateOf(second)).kind).toBe('fault');
  });

  it('are excused once a majority may vote that knows nothing of the first, and then nothing of the register is judged', async () => {
    const { disks, links } = three();
    await vote(disks, first, names);
    links.take(certificateOf(first));
    exchange(disks, 'south');
    exchange(disks, 'east');
    links.reconsider();
    expect(links.take(certificateOf(second)).kind).toBe('lost');
    expect(links.take(certificateOf(first)).kind).toBe('known');
  });

  it('are a fault where those who forgot know that they did', async () => {
    const { disks, links } = three();
    await vote(disks, first, ['north', 'east']);
    links.take(certificateOf(first));
    // South never voted, and east, which has the vote, was copied: of the two only south may vote.
    exchange(disks, 'east', { unnoticed: false });
    links.reconsider();
    expect(links.take(certificateOf(second)).kind).toBe('fault');
  });

  it('are a fault again once a majority has accepted the first anew', async () => {
    const { disks, links } = three();
    await vote(disks, first, names);
    links.take(certificateOf(first));
    exchange(disks, 'south');
    exchange(disks, 'east');
    links.reconsider();
    const anew = statementOf('one', 3);
    await vote(disks, anew, ['south', 'east']);
    expect(links.take(certificateOf(anew)).kind).toBe('known');
    expect(links.take(certificateOf(statementOf('other', 4))).kind).toBe('fault');
  });
});

describe('a link that one of its voters alone has stored', () => {
  const first = statementOf('one', 1);
  const second = statementOf('other', 2);
  const cut = (disks: ReadonlyMap<string, Disk>, name: string): void => {
    (disks.get(name) as Disk).kv = new MemoryKv(new VirtualClock(), { name });
  };

  it('binds nobody when the power took it together with the vote that it counts', async () => {
    const { disks, links } = three();
    await vote(disks, first, ['north', 'east']);
    expect(links.take(certificateOf(first, 'north', 'east'), 'east').kind).toBe('first');
    cut(disks, 'east');
    links.reconsider('east');
    expect(links.take(certificateOf(second, 'east', 'south')).kind).toBe('lost');
  });

  it('binds the others when they know of it without, and the next may be built on it', async () => {
    const { disks, links } = three();
    await vote(disks, first, names);
    links.take(certificateOf(first, 'north', 'east'), 'east');
    exchange(disks, 'east');
    links.reconsider('east');
    const next = statementOf('two', 2, { position: 2, previous: linkHash(testCluster, register, first) });
    expect(links.take(certificateOf(next, 'north', 'south')).kind).toBe('first');
    expect(links.take(certificateOf(second, 'north', 'south')).kind).toBe('fault');
  });

  it('stays as long as the vote does, and once another has seen it', async () => {
    const { disks, links } = three();
    await vote(disks, first, ['north', 'east']);
    links.take(certificateOf(first, 'north', 'east'), 'east');
    links.reconsider('east');
    cut(disks, 'north');
    links.reconsider('north');
    expect(links.take(certificateOf(second, 'north', 'south')).kind).toBe('fault');
    expect(links.take(certificateOf(first, 'north', 'east'), 'south').kind).toBe('known');
    cut(disks, 'east');
    links.reconsider('east');
    expect(links.take(certificateOf(second, 'east', 'south')).kind).toBe('fault');
  });
});

describe('a chain', () => {
  it('has each link on the one before it', () => {
    const { links } = three();
    const first = statementOf('one', 1);
    const previous = linkHash(testCluster, register, first);
    const second = statementOf('two', 2, { position: 2, previous });
    expect(links.take(certificateOf(second)).kind).toBe('fault');
    const { links: sound } = three();
    sound.take(certificateOf(first));
    const taken = sound.take(certificateOf(second));
    expect(taken).toEqual({ kind: 'first', before: { position: 1, head: first.head, previous: null } });
    const wrong = statementOf('three', 3, { position: 3, previous });
    expect(sound.take(certificateOf(wrong)).kind).toBe('fault');
  });
});
