import type { Narrator, Progress } from './tour-types.ts';

const pageColumns = 92;
const indent = '   ';

export interface NarratorDeps {
  readonly write: (text: string) => void;
  /** Emphasis for a terminal; leaves the text alone elsewhere. */
  readonly style: (name: 'bold' | 'green' | 'red' | 'dim', text: string) => string;
  readonly progress: Narrator['progress'];
}

/** Tells the tour as numbered steps of plain text. */
export function createNarrator({ write, style, progress }: NarratorDeps): Narrator {
  const lines = (texts: readonly string[], prefix: string): void => {
    for (const text of texts) write(`${prefix}${text}`.trimEnd().concat('\n'));
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
      lines([style('bold', `${number}. ${title}`)], '');
      lines(wrap(explanation, pageColumns - indent.length), indent);
    },
    stepHeld(outcome, elapsedMs) {
      const [first = '', ...rest] = wrap(outcome, pageColumns - indent.length - 12);
      write(`${indent}${style('green', '✓')} ${first} ${style('dim', `(${seconds(elapsedMs)})`)}\n`);
      lines(rest, `${indent}  `);
    },
    stepFailed(reason, elapsedMs) {
      const [first = '', ...rest] = wrap(reason, pageColumns - indent.length - 12);
      write(`${indent}${style('red', '✗')} ${first} ${style('dim', `(${seconds(elapsedMs)})`)}\n`);
      lines(rest, `${indent}  `);
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
    return [...lines, line];
  });
}
