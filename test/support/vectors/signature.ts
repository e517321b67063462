import { blake3, toHex } from '../../../crdt/digest.ts';
import { peerIdOf, signerFromSeed, toBase64Url } from '../../../crdt/signature.ts';

/** The first two seeds are those of RFC 8032, section 7.1, tests 1 and 2. */
const seeds = [
  '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
  '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
  '0000000000000000000000000000000000000000000000000000000000000000',
];

export function signatureVectors() {
  const digest = blake3(Buffer.from('a record'));
  const base = signerFromSeed(Buffer.from(seeds[0] as string, 'hex'));
  const [domain, other] = ['anabranch/version/1/cluster', 'anabranch/other'];
  const signature = base.sign(domain, digest);
  const changed = Uint8Array.from(signature, (byte, at) => (at === 0 ? byte ^ 1 : byte));
  const accepted = {
    publicKey: toHex(base.publicKey),
    domain,
    digest: toHex(digest),
    signature: toBase64Url(signature),
  };
  return {
    about:
      'ed25519 (RFC 8032) over utf8(domain) 0x00 digest. Keys and digests are hex, signatures base64url. A peer id is base58btc of 002408011220 and the public key (libp2p peer ids).',
    signed: seeds.flatMap((seed) => {
      const signer = signerFromSeed(Buffer.from(seed, 'hex'));
      const publicKey = toHex(signer.publicKey);
      return [domain, other].map((tag) => ({
        seed,
        publicKey,
        peerId: peerIdOf(signer.publicKey),
        domain: tag,
        digest: toHex(digest),
        signature: toBase64Url(signer.sign(tag, digest)),
      }));
    }),
    refused: [
      { why: 'another domain', ...accepted, domain: other },
      { why: 'another digest', ...accepted, digest: toHex(blake3(digest)) },
      { why: 'one bit of the signature', ...accepted, signature: toBase64Url(changed) },
      {
        why: 'another key',
        ...accepted,
        publicKey: toHex(signerFromSeed(Buffer.from(seeds[1] as string, 'hex')).publicKey),
      },
      { why: 'a signature cut short', ...accepted, signature: toBase64Url(signature.subarray(0, 63)) },
      { why: 'a key cut short', ...accepted, publicKey: accepted.publicKey.slice(2) },
      { why: 'a key that is no point of the curve', ...accepted, publicKey: `02${'00'.repeat(31)}` },
    ],
    peerIdsRefused: [
      '',
      'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
      '16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY',
      `${peerIdOf(base.publicKey)}1`,
      `1${peerIdOf(base.publicKey)}`,
      peerIdOf(base.publicKey).slice(1),
      peerIdOf(base.publicKey).toLowerCase(),
    ],
    base64Url: [
      { hex: '', text: '' },
      { hex: 'fbff', text: '-_8' },
      { hex: '00', text: 'AA' },
    ],
    base64UrlRefused: ['A', 'AB', '+/8', '-_8=', 'AA ', 'AA\n'],
  };
}
