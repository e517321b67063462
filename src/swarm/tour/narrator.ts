import type { Narrator, Progress } from './tour-types.ts';

const pageColumns = 92;
/** Keeps a number and its unit on one line. */
const noBreakSpace = '\u00a0';

export interface NarratorDeps {
  readonly write: (text: string) => void;
  /** Emphasis for a terminal; leaves the text alone elsewhere. */
  readonly style: (name: 'bold' | 'green' | 'red', text: string) => string;
  readonly progress: Narrator['progress'];
}

/** Tells the tour as numbered steps of plain text. */
export function createNarrator({ write, style, progress }: NarratorDeps): Narrator {
  /** As wide as the number of the step, so that all of it stands under its title. */
  let indent = '';
  const lines = (texts: readonly string[], prefix: string): void => {
    for (const text of texts) write(`${prefix}${text}`.trimEnd().concat('\n'));
  };
  const ending = (mark: string, text: string, elapsedMs: number): void => {
    const [first = '', ...rest] = wrap(
      `${text} (${seconds(elapsedMs).replace(' ', noBreakSpace)})`,
      pageColumns - indent.length - 2,
    );
    write(`${indent}${mark} ${first}\n`);
    lines(rest, `${indent}  `);
  };
  return {
    say(text) {
      lines(wrap(text, pageColumns), '');
    },
    show(texts) {
      lines(texts, `${indent}  `);
    },
    stepBegins(number, title, explanation) {
      write('\n');
      indent = ' '.repeat(`${number}. `.length);
      lines([style('bold', `${number}. ${title}`)], '');
      lines(wrap(explanation, pageColumns - indent.length), indent);
    },
    stepHeld(outcome, elapsedMs) {
      ending(style('green', '✓'), outcome, elapsedMs);
    },
    stepFailed(reason, elapsedMs) {
      ending(style('red', '✗'), reason, elapsedMs);
    },
    progress: (label, total, unit): Progress => progress(`${indent}${label}`, total, unit),
  };
}

export function seconds(elapsedMs: number): string {
  return `${(elapsedMs / 1000).toFixed(1)} s`;
}

/** Breaks text at spaces; line ends in it are kept, and a word that is too long stands alone. */
export function wrap(text: string, columns: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = [];
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > columns) {
        lines.push(line);
        line = word;
      } else {
        line = line === '' ? word : `${line} ${word}`;
      }
    }
    return [...lines, line].map((whole) => whole.replaceAll(noBreakSpace, ' '));
  });
}
