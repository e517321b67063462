import { describe, expect, it } from 'vitest';
import { withDescriptors } from '../../../../crdt/membership-set.ts';
import { peerIdOf } from '../../../../crdt/signature.ts';
import { addressesOf, announcedAddresses } from '../../../../src/node/membership/addresses.ts';
import { descriptorOf } from '../../../support/descriptors.ts';
import { testNode } from '../../../support/versions.ts';

const north = testNode('north');
const member = {
  name: 'north',
  nodeId: north.nodeId,
  peerId: peerIdOf(north.signer.publicKey),
  addresses: ['/ip4/10.0.0.1/tcp/1', '/dns4/north.example/tcp/1'],
  roles: ['storage'] as const,
  labels: {},
};

describe('the addresses a node tells of', () => {
  it('are those it listens on, in one order, each once', () => {
    expect(announcedAddresses(['/ip4/10.0.0.2/tcp/1', '/ip4/10.0.0.1/tcp/1', '/ip4/10.0.0.2/tcp/1'])).toEqual([
      '/ip4/10.0.0.1/tcp/1',
      '/ip4/10.0.0.2/tcp/1',
    ]);
  });

  it('are loopback ones only where there are no others', () => {
    const loopback = ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1', '/dns4/localhost/tcp/1'];
    expect(announcedAddresses([...loopback, '/ip4/192.168.1.9/tcp/1'])).toEqual(['/ip4/192.168.1.9/tcp/1']);
    expect(announcedAddresses(loopback)).toEqual(loopback.toSorted());
  });

  it('are no more than a descriptor takes, and none that it would refuse', () => {
    const many = Array.from({ length: 40 }, (_, at) => `/ip4/10.0.0.${at}/tcp/1`);
    expect(announcedAddresses([...many, 'nowhere', `/dns4/${'x'.repeat(300)}/tcp/1`])).toHaveLength(16);
  });
});

describe('the addresses of a member', () => {
  it('are what it says now, and then what the control log says', () => {
    const addresses = ['/ip4/10.0.0.9/tcp/2', '/ip4/10.0.0.1/tcp/1'];
    const moved = withDescriptors(new Map(), [descriptorOf(north, { addresses })]);
    expect(addressesOf(member, moved)).toEqual([...addresses, '/dns4/north.example/tcp/1']);
    expect(addressesOf(member, new Map())).toEqual(member.addresses);
  });
});
