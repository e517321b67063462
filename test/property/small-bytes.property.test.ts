import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readUint32, readUint64, writeUint32, writeUint64 } from '../../crdt/big-endian.ts';
import { textOfBytes } from '../../crdt/byte-text.ts';
import { keyOfText, keyText } from '../../src/ports/key-text.ts';
import { runs } from '../support/property-runs.ts';

const around = { before: fc.nat(9), after: fc.nat(9) };

describe('whole numbers as big-endian bytes', () => {
  it('are those of a DataView, wherever they stand', () => {
    fc.assert(
      fc.property(fc.record({ ...around, value: fc.maxSafeNat() }), ({ before, after, value }) => {
        const bytes = new Uint8Array(before + 8 + after).fill(7);
        const same = bytes.slice();
        writeUint64(bytes, value, before);
        new DataView(same.buffer).setBigUint64(before, BigInt(value));
        expect(bytes).toEqual(same);
        expect(readUint64(bytes, before)).toBe(value);
        writeUint32(bytes, value % 2 ** 32, before);
        new DataView(same.buffer).setUint32(before, value % 2 ** 32);
        expect(bytes).toEqual(same);
        expect(readUint32(bytes, before)).toBe(value % 2 ** 32);
      }),
      runs(1),
    );
  });

  it('are read from any bytes as a DataView reads them, and not beyond their end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 24 }), (bytes) => {
        expect(readUint64(bytes, 0)).toBe(Number(new DataView(bytes.buffer).getBigUint64(0)));
        expect(() => readUint64(bytes, bytes.length - 7)).toThrow(RangeError);
        expect(() => readUint32(bytes, bytes.length - 3)).toThrow(RangeError);
      }),
      runs(1),
    );
  });
});

describe('the text of bytes', () => {
  const bytes = fc.uint8Array({ maxLength: 5_000, size: 'max' });

  it('is the one of a Buffer, whether they are few or many', () => {
    fc.assert(
      fc.property(bytes, fc.nat(3), (all, from) => {
        const part = all.subarray(from);
        expect(textOfBytes(part, 'hex')).toBe(Buffer.from(part).toString('hex'));
        expect(textOfBytes(part, 'base64url')).toBe(Buffer.from(part).toString('base64url'));
      }),
      runs(1),
    );
  });

  it("as a key gives the key again, which is nobody else's", () => {
    fc.assert(
      fc.property(bytes, bytes, (key, other) => {
        const again = keyOfText(keyText(key));
        keyOfText(keyText(other));
        expect(again).toEqual(key);
        expect(again.constructor).toBe(Uint8Array);
      }),
      runs(1),
    );
  });
});
