import { describe, expect, it } from 'vitest';
import { blobBytesMax } from '../../../crdt/chunking.ts';
import { blobHashOf } from '../../../crdt/digest.ts';
import { AnswerPacker, AnswerParser } from '../../../protocols/blobs/answers.ts';
import { BufferPool } from '../../../protocols/blobs/buffer-pool.ts';
import { wantHashesMax } from '../../../protocols/blobs/limits.ts';
import { decodeWant, encodeWant } from '../../../protocols/blobs/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { messageBytesMax } from '../../../protocols/wire/frames.ts';

type Blob = Uint8Array | undefined;

async function pack(answers: readonly Blob[]): Promise<Uint8Array[]> {
  const messages: Uint8Array[] = [];
  const packer = new AnswerPacker(async (message) => {
    messages.push(message);
  });
  for (const answer of answers) await packer.answer(answer);
  await packer.flush();
  return messages;
}

function parse(messages: readonly Uint8Array[]): Blob[] {
  const answers: Blob[] = [];
  const parser = new AnswerParser(new BufferPool(), (blob) => answers.push(blob));
  for (const message of messages) parser.push(message);
  return answers;
}

const bytes = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + seed) & 0xff);

describe('blob answers', () => {
  it('packs many small answers into one message', async () => {
    const answers = Array.from({ length: 100 }, (_, index) => (index % 3 === 0 ? undefined : bytes(1_000, index)));
    const messages = await pack(answers);
    expect(messages.length).toBe(1);
    expect(parse(messages)).toEqual(answers);
  });

  it('cuts a large blob into messages of at most the frame size, between small ones', async () => {
    const answers = [bytes(10), bytes(700_000), undefined, bytes(messageBytesMax), bytes(3)];
    const messages = await pack(answers);
    expect(messages.every((message) => message.length <= messageBytesMax)).toBe(true);
    expect(parse(messages)).toEqual(answers);
  });

  it('fills a message to the last byte', async () => {
    const small = Array.from({ length: 8 }, (_, index) => bytes(messageBytesMax / 8 - 5, index));
    const answers = [...small, bytes(1)];
    const messages = await pack(answers);
    expect(messages.map((message) => message.length)).toEqual([messageBytesMax, 6]);
    expect(parse(messages)).toEqual(answers);
  });

  it('carries an empty blob', async () => {
    expect(parse(await pack([bytes(0)]))).toEqual([bytes(0)]);
  });

  it('keeps no view of the message it parsed', async () => {
    const [message] = (await pack([bytes(4)])) as [Uint8Array];
    const [blob] = parse([message]);
    message.fill(0xff);
    expect(blob).toEqual(bytes(4));
  });

  it('reads the same answers however their bytes were cut on the way', async () => {
    const blobs = [bytes(700), undefined, bytes(0), bytes(20_000)];
    const packed = Buffer.concat(await pack(blobs));
    for (const pieceBytes of [1, 3, 4, 5, 6, 1_000]) {
      const pieces = Array.from({ length: Math.ceil(packed.length / pieceBytes) }, (_, index) =>
        packed.subarray(index * pieceBytes, (index + 1) * pieceBytes),
      );
      expect(parse(pieces)).toEqual(blobs);
    }
  });

  it('refuses an unknown tag and an oversized blob', () => {
    const oversized = Uint8Array.of(1, 0, 0, 0, 0);
    new DataView(oversized.buffer).setUint32(1, blobBytesMax + 1);
    for (const hostile of [Uint8Array.of(7), oversized]) {
      expect(() => parse([hostile])).toThrow(expect.objectContaining({ code: 'protocol_violation' }));
    }
  });
});

describe('want messages', () => {
  const hash = blobHashOf(bytes(3));

  it('come back as they were sent', () => {
    const hashes = [hash, blobHashOf(bytes(4)), hash];
    expect(decodeWant(encodeWant(hashes))).toEqual({ ok: true, value: hashes });
  });

  it('are refused when they are not CBOR, of another shape, empty, cut or too long', () => {
    const hostile = [
      Uint8Array.of(0xff),
      encodeCbor({ want: 'text' }),
      encodeCbor({ want: new Uint8Array(32), more: 1 }),
      encodeCbor([new Uint8Array(32)]),
      encodeCbor({ want: new Uint8Array(0) }),
      encodeCbor({ want: new Uint8Array(33) }),
      encodeCbor({ want: new Uint8Array(32 * (wantHashesMax + 1)) }),
    ];
    for (const message of hostile) expect(decodeWant(message).ok).toBe(false);
  });
});
