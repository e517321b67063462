/** One thing that the doctor looked at. `note` is worth knowing, `wrong` is to be mended. */
export interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'note' | 'wrong';
  readonly message: string;
  /** What to do about it; null when there is nothing to do. */
  readonly advice: string | null;
}

export function ok(check: string, message: string): Finding {
  return { check, level: 'ok', message, advice: null };
}

export function note(check: string, message: string, advice: string | null = null): Finding {
  return { check, level: 'note', message, advice };
}

export function wrong(check: string, message: string, advice: string): Finding {
  return { check, level: 'wrong', message, advice };
}
