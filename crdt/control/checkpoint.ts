import { decodeCanonical, encodeCanonical, hasExactly } from '../canonical-json.ts';
import { type Certificate, certificateBytesMax, decodeCertificate } from '../certificate.ts';
import { isHash } from '../digest.ts';
import { type ClusterId, err, ok, type Result } from '../ids.ts';
import { decodeEntry, type EntryText, entryBytesMax } from './entry.ts';

/** Where a log ends: how many entries there are, and the Merkle root that stands for all of them. */
export interface Checkpoint {
  readonly cluster: ClusterId;
  /** Entries, the genesis included. */
  readonly size: number;
  /** RFC 6962 root over the texts of all entries, 52 characters of base32. */
  readonly root: string;
  /** Of the last entry; null when that is the genesis, which founds what certifies. */
  readonly certificate: Certificate | null;
}

/** An entry beside the proof that it was chosen. */
export interface CertifiedEntry {
  readonly entry: EntryText;
  readonly certificate: Certificate;
}

/** Quotes and backslashes of an entry take two bytes inside the line's own JSON. */
const logLineBytesMax = 2 * entryBytesMax + certificateBytesMax + 64;
const checkpointBytesMax = certificateBytesMax + 512;

/** The line of a certified entry in an exported log: canonical JSON `{certificate, entry: <text>}`, without a newline. */
export function encodeLogLine({ entry, certificate }: CertifiedEntry): string {
  return encodeCanonical({ certificate, entry: entry.text });
}

/**
 * Reads the line of an entry: its form, the entry's and the certificate's. Whether it holds in its place is for
 * `foldEntry` and `checkEntryCertificate`.
 *
 * @returns the entry and its certificate, or a sentence saying what is wrong; never throws
 */
export function decodeLogLine(line: string): Result<CertifiedEntry, string> {
  const decoded = decodeCanonical(line, logLineBytesMax);
  if (!decoded.ok) return decoded;
  const { value } = decoded;
  if (!hasExactly(value, ['certificate', 'entry']) || typeof value.entry !== 'string') {
    return err('the line has not exactly the fields certificate and entry');
  }
  const entry = decodeEntry(value.entry);
  if (!entry.ok) return entry;
  const certificate = decodeCertificate(encodeCanonical(value.certificate));
  return certificate.ok ? ok({ entry: entry.value, certificate: certificate.value }) : certificate;
}

/** The last line of an exported log: canonical JSON `{checkpoint}`, without a newline. */
export function encodeCheckpointLine(checkpoint: Checkpoint): string {
  return encodeCanonical({ checkpoint });
}

/**
 * True for a line that is meant as a checkpoint, also when a part of it is damaged. In an entry's line the quotes of
 * whatever its text has are escaped, so a bare `"root":"` is never there.
 */
export function isCheckpointLine(line: string): boolean {
  return line.startsWith('{"checkpoint":') || (!line.startsWith('{"certificate":') && line.includes('"root":"'));
}

/**
 * Reads the last line of an exported log: its form alone.
 *
 * @returns the checkpoint, or a sentence saying what is wrong; never throws
 */
export function decodeCheckpointLine(line: string): Result<Checkpoint, string> {
  const decoded = decodeCanonical(line, checkpointBytesMax);
  if (!decoded.ok) return decoded;
  if (!hasExactly(decoded.value, ['checkpoint'])) return err('the line has not exactly the field checkpoint');
  const { checkpoint } = decoded.value;
  if (!hasExactly(checkpoint, ['certificate', 'cluster', 'root', 'size'])) {
    return err('a checkpoint has exactly the fields certificate, cluster, root and size');
  }
  const { certificate, cluster, root, size } = checkpoint;
  if (typeof cluster !== 'string' || !isHash(cluster)) return err('cluster is not a hash');
  if (typeof root !== 'string' || !isHash(root)) return err('root is not a hash');
  if (!Number.isSafeInteger(size) || (size as number) < 1) return err('size is not an integer from 1');
  if (certificate !== null) {
    const read = decodeCertificate(encodeCanonical(certificate));
    if (!read.ok) return read;
  }
  return ok(checkpoint as unknown as Checkpoint);
}
