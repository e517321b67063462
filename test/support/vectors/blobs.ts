import { blobHashOf, toHex } from '../../../crdt/digest.ts';
import { decodeWant, encodeWant } from '../../../protocols/blobs/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { patternBytes } from './digest.ts';
import { refusedVectors } from './messages.ts';

const blobs = [0, 5, 300].map(patternBytes);
const hashes = blobs.map(blobHashOf);

/** Answers by the words of the protocol, not by its code, whose messages are but cuts of this. */
function answerTo(blob: Uint8Array | undefined): Uint8Array {
  if (blob === undefined) return Uint8Array.of(0);
  const answer = new Uint8Array(5 + blob.length);
  answer[0] = 1;
  new DataView(answer.buffer).setUint32(1, blob.length);
  answer.set(blob, 5);
  return answer;
}

export function blobsVectors() {
  const [empty, short, long] = blobs;
  return {
    about:
      'Blobs. A want of /anabranch/blobs/1.0.0 is CBOR, in hex; `answers` is the stream of bytes that answers it when the holder has the blobs of these lengths and lacks the others, however it is cut into messages. Blobs are the bytes 0, 1, ... 250, 0, 1, ... of a length, as in digest.json.',
    blobs: blobs.map((bytes, at) => ({ length: bytes.length, hash: hashes[at] as string })),
    wants: [
      { hashes: hashes.slice(1, 2), bytes: toHex(encodeWant(hashes.slice(1, 2))) },
      { hashes, bytes: toHex(encodeWant(hashes)) },
    ],
    answers: [
      { to: hashes, held: [0, 5, 300], bytes: toHex(Buffer.concat([empty, short, long].map(answerTo))) },
      { to: hashes, held: [5], bytes: toHex(Buffer.concat([undefined, short, undefined].map(answerTo))) },
    ],
    refused: refusedVectors(
      {
        'no CBOR': Uint8Array.of(0xff),
        'no want': encodeCbor({ want: new Uint8Array(0) }),
        'half a hash': encodeCbor({ want: new Uint8Array(48) }),
        'a field too many': encodeCbor({ want: new Uint8Array(32), more: true }),
        'a text': encodeCbor({ want: hashes[1] }),
      },
      decodeWant,
    ),
  };
}
