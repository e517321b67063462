import { readUint32 } from './big-endian.ts';
import { blake3 } from './digest.ts';

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996; Schindelhauer
 * and Schomaker, "Weighted Distributed Hash Tables", 2005): each candidate draws an arrival time for each subject from
 * its hash, exponentially distributed with its weight as the rate, and the earliest win. A candidate that comes or goes
 * moves only what it wins or had won. Every node computes the same bits: only exactly rounded arithmetic is used, never
 * the platform's logarithm.
 */

/** A subject or candidate as two 32-bit words of the BLAKE3 of its name. */
export interface HashWords {
  readonly high: number;
  readonly low: number;
}

const twoTo26 = 2 ** 26;
const twoTo52 = 2 ** 52;
const twoTo53 = 2 ** 53;
const ln2 = Math.LN2;
const sqrtHalf = Math.SQRT1_2;

/** The words of a name. Different domains give unrelated words. */
export function hashWords(domain: string, name: string): HashWords {
  const digest = blake3(Buffer.from(`${domain}\0${name}`, 'utf8'));
  return { high: readUint32(digest, 0), low: readUint32(digest, 4) };
}

/**
 * When a candidate of weight 1 arrives at a subject: exponentially distributed with mean 1, a function of the two
 * alone. Divide it by the weight.
 */
export function arrival(subject: HashWords, candidate: HashWords): number {
  const first = mix(subject.high ^ candidate.high, subject.low ^ candidate.low);
  const second = mix(first ^ candidate.low, subject.high + Math.imul(subject.low, 0x9e37_79b1) + candidate.high);
  // 53 bits, and half a step, so that it is never 0.
  return -logarithm((first >>> 5) * twoTo26 + (second >>> 6) + 0.5);
}

/** The finaliser of MurmurHash3 over two words. */
function mix(left: number, right: number): number {
  let hash = Math.imul(left ^ (left >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13) ^ right, 0xc2b2_ae35);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb_352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846c_a68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The natural logarithm of `scaled` / 2^53, for 0 < `scaled` < 2^53, to about 12 digits. */
function logarithm(scaled: number): number {
  let mantissa = scaled;
  let exponent = 0;
  while (mantissa < twoTo52) {
    mantissa *= 2;
    exponent -= 1;
  }
  mantissa /= twoTo53;
  if (mantissa < sqrtHalf) {
    mantissa *= 2;
    exponent -= 1;
  }
  // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is below 0.18 here.
  const ratio = (mantissa - 1) / (mantissa + 1);
  const square = ratio * ratio;
  let series = 1 / 15;
  for (let divisor = 13; divisor >= 1; divisor -= 2) series = series * square + 1 / divisor;
  return 2 * ratio * series + exponent * ln2;
}
