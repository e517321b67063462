import { clientError } from './api-error.ts';

/** No event of the API comes near this; a longer one means that something else is talking. */
const eventCharsMax = 1024 * 1024;

export interface StreamedEvent {
  readonly id: string | undefined;
  readonly type: string;
  readonly data: string;
}

/** Server-sent events (WHATWG HTML, section 9.2) out of a byte stream cut anywhere. Comments are dropped. */
export async function* parseEventStream(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<StreamedEvent, void, void> {
  const decoder = new TextDecoder();
  let rest = '';
  let draft = emptyDraft();
  for await (const piece of pieces) {
    rest += decoder.decode(piece, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (draft.data.length > 0) yield { id: draft.id, type: draft.type, data: draft.data.join('\n') };
        draft = emptyDraft();
      } else {
        takeLine(draft, line);
      }
    }
    if (rest.length + draft.chars > eventCharsMax) {
      throw clientError('bad_response', `An event is longer than ${eventCharsMax} characters`);
    }
  }
}

interface EventDraft {
  id: string | undefined;
  type: string;
  data: string[];
  chars: number;
}

function emptyDraft(): EventDraft {
  return { id: undefined, type: 'message', data: [], chars: 0 };
}

function takeLine(draft: EventDraft, line: string): void {
  const colon = line.indexOf(':');
  const field = colon === -1 ? line : line.slice(0, colon);
  const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
  draft.chars += line.length;
  if (field === 'data') draft.data.push(value);
  else if (field === 'event') draft.type = value;
  else if (field === 'id') draft.id = value;
}
