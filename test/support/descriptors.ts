import type { ClusterId } from '../../crdt/ids.ts';
import { type DescriptorFields, type SignedDescriptor, signDescriptor } from '../../crdt/membership-descriptor.ts';
import { type TestNode, testCluster } from './versions.ts';

/** What a made-up node says of itself. */
export function fieldsOf(node: TestNode, change: Partial<DescriptorFields> = {}): DescriptorFields {
  return {
    nodeId: node.nodeId,
    sequence: 1,
    addresses: ['/ip4/10.0.0.7/tcp/7401'],
    url: null,
    labels: {},
    capacityBytes: 500_000_000_000,
    version: '1.0.0',
    time: 1_767_225_600_000,
    ...change,
  };
}

/** A descriptor of a made-up node, signed by it or by whoever is named. */
export function descriptorOf(
  node: TestNode,
  change: Partial<DescriptorFields> = {},
  { signer = node.signer, cluster = testCluster }: { signer?: TestNode['signer']; cluster?: ClusterId } = {},
): SignedDescriptor {
  return signDescriptor(fieldsOf(node, change), signer, cluster);
}
