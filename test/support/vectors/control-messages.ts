import {
  type ControlRequest,
  type ControlResponse,
  decodeControlRequest,
  decodeControlResponse,
  encodeControlMessage,
} from '../../../protocols/control/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { sampleLog } from '../control-log.ts';
import { messageVectors, refusedVectors, type Samples } from './messages.ts';

export function controlMessageVectors() {
  const log = sampleLog();
  const [, line = ''] = log.lines();
  const { text = '', hash = '' } = log.entries[0]?.entry ?? {};
  const tip = { seq: 1, hash };
  const requests: Samples<ControlRequest> = {
    entries: [{ t: 'entries', after: 0 }],
    candidate: [{ t: 'candidate', hash }],
    tip: [{ t: 'tip', tip }],
    carry: [{ t: 'carry' }],
  };
  const responses: Samples<ControlResponse> = {
    entries: [
      { t: 'entries', tip, lines: [line] },
      { t: 'entries', tip, lines: [] },
    ],
    candidate: [
      { t: 'candidate', text },
      { t: 'candidate', text: null },
    ],
    tip: [{ t: 'tip', tip }],
    carry: [
      { t: 'carry', carry: { epoch: 2, carried: 1, done: 10, total: 20, complete: false } },
      { t: 'carry', carry: null },
    ],
  };
  return {
    about:
      'Messages of /anabranch/control/1.0.0 are CBOR, in hex. Lines, texts and hashes are those of control-log.json.',
    requests: messageVectors(requests, encodeControlMessage),
    responses: messageVectors(responses, encodeControlMessage),
    refusedRequests: refusedVectors(
      {
        'a position below 0': encodeCbor({ t: 'entries', after: -1 }),
        'a position that is not whole': encodeCbor({ t: 'entries', after: 0.5 }),
        'no hash': encodeCbor({ t: 'candidate', hash: hash.toUpperCase() }),
        'a field too many': encodeCbor({ t: 'carry', epoch: 1 }),
      },
      decodeControlRequest,
    ),
    refusedResponses: refusedVectors(
      {
        'more than 256 lines': encodeCbor({ t: 'entries', tip, lines: Array(257).fill('') }),
        'a tip without a hash': encodeCbor({ t: 'tip', tip: { seq: 1 } }),
        'no word on completeness': encodeCbor({ t: 'carry', carry: { epoch: 2, carried: 1, done: 10, total: 20 } }),
      },
      decodeControlResponse,
    ),
  };
}
