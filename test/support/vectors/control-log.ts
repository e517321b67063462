import { encodeCanonical } from '../../../crdt/canonical-json.ts';
import { decodeEntry } from '../../../crdt/control/entry.ts';
import { memberOf, operationId, placementLog, sampleLog } from '../control-log.ts';
import { refusal, testNode } from '../versions.ts';

export function controlLogVectors() {
  const log = sampleLog();
  const base = log.entries[0]?.entry.entry;
  const [admit] = base?.operations ?? [];
  const entry = (change: object): string => encodeCanonical({ ...base, ...change });
  const operation = (change: object): string => entry({ operations: [{ ...admit, ...change }] });
  const asked = (fields: object): string => entry({ operations: [{ id: operationId('vector'), ...fields }] });
  const policy = (fields: object): string => asked({ type: 'namespace', ns: 'docs', policy: fields });
  const member = (change: object): string => operation({ member: { ...memberOf('west'), ...change } });
  const { nodeId } = testNode('west');
  const refused: [why: string, text: string][] = [
    ['white space', ` ${log.entries[0]?.entry.text}`],
    ['unknown version', entry({ v: 2 })],
    ['unknown field', entry({ extra: 1 })],
    ['sequence 0', entry({ seq: 0 })],
    ['previous is no hash', entry({ previous: 'x' })],
    ['root is no hash', entry({ root: 'x' })],
    ['no operations', entry({ operations: [] })],
    [
      'too many operations',
      entry({ operations: Array.from({ length: 65 }, (_, at) => ({ ...admit, id: operationId(String(at)) })) }),
    ],
    ['the same operation id twice', entry({ operations: [admit, admit] })],
    ['no actor', entry({ actor: '' })],
    ['control character in the actor', entry({ actor: 'a\nb' })],
    ['reason too long', entry({ reason: 'x'.repeat(2_049) })],
    ['negative time', entry({ time: -1 })],
    ['epoch 0', entry({ epoch: 0 })],
    ['short operation id', operation({ id: 'a'.repeat(25) })],
    ['unknown operation', asked({ type: 'destroy' })],
    ['inherited name as an operation', asked({ type: 'constructor' })],
    ['unknown field of an operation', operation({ force: true })],
    ['member without roles', member({ roles: [] })],
    ['unknown role', member({ roles: ['king'] })],
    ['roles out of order', member({ roles: ['storage', 'agent'] })],
    ['label name', member({ labels: { DC: 'a' } })],
    ['label value', member({ labels: { dc: 'a b' } })],
    ['peer id', member({ peerId: 'x' })],
    ['node id', asked({ type: 'remove', nodeId: 'west' })],
    ['roles of nobody', asked({ type: 'roles', nodeId, roles: ['storage', 'storage'] })],
    ['address of a member', asked({ type: 'addresses', nodeId, addresses: ['10.0.0.1:7401'] })],
    ['too many addresses', asked({ type: 'addresses', nodeId, addresses: Array(17).fill('/ip4/10.0.0.1/tcp/1') })],
    ['capacity 0', asked({ type: 'capacity', nodeId, capacity: 0 })],
    ['capacity 65', asked({ type: 'capacity', nodeId, capacity: 65 })],
    ['capacity between steps', asked({ type: 'capacity', nodeId, capacity: 20.5 })],
    ['capacity as text', asked({ type: 'capacity', nodeId, capacity: '20' })],
    ['draining that is neither', asked({ type: 'drain', nodeId, draining: 1 })],
    ['draining of nobody', asked({ type: 'drain', draining: true })],
    ['capacity of a member that is admitted', member({ capacity: 20 })],
    ['namespace', asked({ type: 'namespace', ns: 'Docs', policy: {} })],
    ['unknown field of a policy', policy({ copies: 2 })],
    ['no replicas', policy({ replicas: 0 })],
    ['too many replicas', policy({ replicas: 17 })],
    ['more distinct values than replicas', policy({ replicas: 2, diversity: { dc: 3 } })],
    ['required values that are all forbidden', policy({ required: { dc: ['a'] }, forbidden: { dc: ['a', 'b'] } })],
    ['values out of order', policy({ required: { dc: ['b', 'a'] } })],
    ['unknown chunking profile', policy({ chunking: 'tiny' })],
    ['chunking parameters', policy({ chunking: { algorithm: 'fastcdc-1', min: 1, average: 2, max: 3 } })],
    ['unknown read mode', policy({ readMode: 'latest' })],
    ['retention', policy({ retention: {} })],
    ['scope', asked({ type: 'configuration', scope: 'a//b', values: {} })],
    ['name of a setting', asked({ type: 'configuration', scope: 'cluster', values: { '1': 1 } })],
    ['configuration too long', asked({ type: 'configuration', scope: 'cluster', values: { a: 'x'.repeat(16_384) } })],
  ];
  return {
    about:
      'An entry is canonical JSON, its hash BLAKE3 of the text in base32, its root the RFC 6962 root of the texts before it in base32; entry 0 is the genesis text, whose hash is the cluster id. `lines` is an exported log, a line each: the genesis text, entries with their certificates, the checkpoint with the RFC 6962 root of all texts in base32. `later`: entries of another log, which begins with the same genesis text, with operations that were added later. `refused`: texts that are no entry, and the reason this implementation gives.',
    lines: log.lines(),
    entries: log.entries.map(({ entry: { text, hash } }) => ({ text, hash })),
    later: placementLog().entries.map(({ entry: { text, hash } }) => ({ text, hash })),
    refused: refused.map(([why, text]) => ({ why, text, reason: refusal(decodeEntry(text)) })),
  };
}
