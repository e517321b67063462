import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeLogRecord, encodeLogRecord, logPageBytes } from '../../../src/adapters/lmdb/log-record.ts';
import type { Row } from '../../../src/adapters/lmdb/pending-rows.ts';
import { keyText } from '../../../src/ports/key-text.ts';

const header = { generation: 7, transactions: 4_711, nonce: 0x0123_4567_89ab_cdefn, index: 3 };
const row: fc.Arbitrary<Row> = fc.tuple(
  fc.uint8Array({ minLength: 1, maxLength: 40 }).map(keyText),
  fc.option(fc.uint8Array({ maxLength: 3_000 }), { nil: null }),
);
const plain = (rows: readonly Row[]) =>
  rows.map(([text, value]) => [text, value && Buffer.from(value).toString('hex')]);

test('gives back what was written, in whole pages', () => {
  fc.assert(
    fc.property(fc.uniqueArray(row, { maxLength: 12, selector: ([text]) => text }), (rows) => {
      const bytes = encodeLogRecord(header, new Map(rows));
      const { rows: read, length, ...rest } = decodeLogRecord(bytes) ?? expect.fail('no record');
      expect(rest).toEqual(header);
      expect(plain(read)).toEqual(plain(rows));
      expect(bytes.length).toBe(length);
      expect(length % logPageBytes).toBe(0);
    }),
  );
});

test('is read the same whatever follows it', () => {
  const rows: Row[] = [['\x01', Uint8Array.of(2)]];
  const bytes = encodeLogRecord(header, new Map(rows));
  const read = decodeLogRecord(Buffer.concat([bytes, Buffer.alloc(10_000, 0xff)]));
  expect(read).toMatchObject({ ...header, length: logPageBytes });
  expect(plain(read?.rows ?? [])).toEqual(plain(rows));
});

test('of which a byte changed, or the end is missing, is none', () => {
  const rows: Row[] = [
    ['a key', Buffer.from('a value')],
    ['another', null],
  ];
  const bytes = encodeLogRecord(header, new Map(rows));
  const used = 40 + 6 + 5 + 7 + 6 + 7;
  for (let at = 0; at < used; at += 1) {
    expect(decodeLogRecord(bytes.subarray(0, at)), `cut at ${at}`).toBeUndefined();
    for (const bit of [1, 0x80]) {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = (damaged[at] as number) ^ bit;
      expect(decodeLogRecord(damaged), `changed at ${at}`).toBeUndefined();
    }
  }
  expect(decodeLogRecord(bytes.subarray(0, used))).toMatchObject(header);
});

test('is laid out as it says', () => {
  const bytes = encodeLogRecord(
    header,
    new Map<string, Uint8Array | null>([
      ['\xaa\xbb', Uint8Array.of(0xcc)],
      ['\xdd', null],
    ]),
  );
  expect(Buffer.from(bytes.subarray(0, 57)).toString('hex')).toBe(
    [
      '41425701',
      'b43d51d6',
      '0700000000000000',
      '6712000000000000',
      'efcdab8967452301',
      '03000000',
      '10000000',
      '020001000000aabbcc',
      '0100ffffffffdd',
    ]
      .join('')
      .concat('00'),
  );
});

test('never throws, whatever the bytes', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodeLogRecord(bytes) === undefined));
});
