import { generateKeyPair } from '@libp2p/crypto/keys';
import { generateCertificate } from '@libp2p/tls/utils';

/** A self-signed certificate such as the mesh's own connections use. */
export async function certificate(): Promise<{ key: string; cert: string }> {
  return generateCertificate(await generateKeyPair('Ed25519'));
}
