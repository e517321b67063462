import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';

const drawn = (random: SeededRandom, length = 16): string => Buffer.from(random.bytes(length)).toString('hex');

describe('seeded randomness', () => {
  it('draws from one seed the same for ever, so that a seed that once failed can be kept', () => {
    const random = new SeededRandom('anabranch');
    expect(drawn(random)).toBe('7b39d613b151a0e8069374a08b52d281');
    expect(random.fraction()).toBe(0.9060138053580487);
    expect(drawn(random.split('network'))).toBe('60254f6c49f05326807071d5264438db');
  });

  it('draws differently from seeds that differ a little', () => {
    const first = ['seed 1', 'seed 2', 'seed 1 ', '', '1', '2'].map((seed) => drawn(new SeededRandom(seed)));
    expect(new Set(first).size).toBe(6);
    expect(drawn(new SeededRandom(new Uint8Array(32)))).not.toBe(drawn(new SeededRandom(new Uint8Array(32).fill(1))));
  });

  it('splits into streams that depend on the names alone, not on what was drawn', () => {
    const one = new SeededRandom('seed');
    const other = new SeededRandom('seed');
    one.bytes(1_000);
    one.split('unrelated').bytes(100);
    expect(drawn(one.split('disk'))).toBe(drawn(other.split('disk')));
    expect(drawn(one.split('a').split('b'))).toBe(drawn(other.split('a').split('b')));
  });

  it('splits by name into streams that have nothing in common', () => {
    const random = new SeededRandom('seed');
    const streams = [
      random,
      random.split(''),
      random.split('a'),
      random.split('b'),
      random.split('ab'),
      random.split('a').split('b'),
      random.split('b').split('a'),
      random.split('a:split:b'),
    ];
    expect(new Set(streams.map((stream) => drawn(stream))).size).toBe(streams.length);
  });

  it('draws bytes in full words, so that lengths of one word draw alike', () => {
    expect(drawn(new SeededRandom('s'), 8).startsWith(drawn(new SeededRandom('s'), 5))).toBe(true);
  });
});
