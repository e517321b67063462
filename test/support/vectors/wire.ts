import { toHex } from '../../../crdt/digest.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { creditFrame, dataFrame, endFrame, helloFrame, messageBytesMax } from '../../../protocols/wire/frames.ts';
import { patternBytes } from './digest.ts';

const message = encodeCbor({ t: 'heard' });
const header = (length: number, type: number): Uint8Array => {
  const bytes = new Uint8Array(5);
  new DataView(bytes.buffer).setUint32(0, length);
  bytes[4] = type;
  return bytes;
};
const hello = helloFrame();
const streamOf = (...frames: readonly Uint8Array[]): string => toHex(Buffer.concat(frames));

export function wireVectors() {
  const values = [
    0,
    23,
    24,
    65_536,
    -1,
    2 ** 53 - 1,
    'é',
    patternBytes(3),
    [],
    [1, [true, null]],
    { b: 1, a: { c: 'd' }, aa: 2 },
  ];
  return {
    about:
      'Frames and CBOR, in hex. `streams`: one direction of a stream and its frames; a later version may add bytes to a hello, which are passed over. `refusedStreams` are reset. `cbor`: values and what stands for them; in `value` a byte string is {"hex": …}. `refusedCbor` is not read.',
    streams: [
      { frames: ['hello'], bytes: streamOf(hello) },
      {
        frames: ['hello', 'data', 'end'],
        message: toHex(message),
        bytes: streamOf(hello, dataFrame(message), endFrame()),
      },
      { frames: ['hello', 'data'], message: '', bytes: streamOf(hello, dataFrame(new Uint8Array(0))) },
      {
        frames: ['hello', 'credit', 'end', 'credit'],
        credit: 262_144,
        bytes: streamOf(hello, creditFrame(262_144), endFrame(), creditFrame(262_144)),
      },
      { frames: ['hello', 'end'], bytes: streamOf(Buffer.concat([header(3, 0), Uint8Array.of(1, 2, 3)]), endFrame()) },
    ],
    refusedStreams: [
      { why: 'data before the hello', bytes: streamOf(dataFrame(message)) },
      { why: 'a second hello', bytes: streamOf(hello, hello) },
      { why: 'another wire version', bytes: streamOf(header(1, 0), Uint8Array.of(2)) },
      { why: 'a hello without a version', bytes: streamOf(header(0, 0)) },
      { why: 'a hello of more than 64 bytes', bytes: streamOf(header(65, 0)) },
      { why: 'an unknown type', bytes: streamOf(hello, header(0, 4)) },
      { why: 'a message beyond 256 KiB', bytes: streamOf(hello, header(messageBytesMax + 1, 1)) },
      { why: 'a credit of nothing', bytes: streamOf(hello, header(4, 2), new Uint8Array(4)) },
      { why: 'a credit of three bytes', bytes: streamOf(hello, header(3, 2)) },
      { why: 'an end with a payload', bytes: streamOf(hello, header(1, 3)) },
    ],
    cbor: values.map((value) => ({
      value: value instanceof Uint8Array ? { hex: toHex(value) } : value,
      bytes: toHex(encodeCbor(value)),
    })),
    refusedCbor: [
      { why: 'nothing', bytes: '' },
      { why: 'cut short', bytes: '8201' },
      { why: 'bytes behind it', bytes: '0000' },
      { why: 'a number not in its shortest form', bytes: '1800' },
      { why: 'a list of indefinite length', bytes: '9f01ff' },
      { why: 'a text of indefinite length', bytes: '7f6161ff' },
      { why: 'a key twice', bytes: 'a2616101616102' },
      { why: 'a tag', bytes: 'c100' },
      { why: 'undefined', bytes: 'f7' },
      { why: 'no number', bytes: 'f97e00' },
      { why: 'infinity', bytes: 'f97c00' },
      { why: 'a number of 2^53', bytes: '1b0020000000000000' },
    ],
  };
}
