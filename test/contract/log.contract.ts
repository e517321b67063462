import { describe, expect, it } from 'vitest';
import type { Log, LogFields } from '../../src/ports/log.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';

/** What the suite asks of an adapter: a log that writes every level, and what it wrote. */
export interface LogHarness {
  readonly log: Log;
  lines(): readonly { readonly level: string; readonly event: string; readonly fields: LogFields }[];
}

/** The promises of `src/ports/log.ts`, for every adapter. */
export function logContract(name: string, create: () => LogHarness): void {
  describe(`Log: ${name}`, () => {
    it('writes each level with its event and fields, in order', () => {
      const { log, lines } = create();
      log.debug('first:done', { count: 1 });
      log.info('second:done', { name: 'two', list: [1, 2] });
      log.warn('third:done');
      log.error('fourth:done', { nested: { deep: true } });
      expect(lines()).toEqual([
        { level: 'debug', event: 'first:done', fields: { count: 1 } },
        { level: 'info', event: 'second:done', fields: { name: 'two', list: [1, 2] } },
        { level: 'warn', event: 'third:done', fields: {} },
        { level: 'error', event: 'fourth:done', fields: { nested: { deep: true } } },
      ]);
    });

    it('adds a child’s fields to every line of it, and to no other', () => {
      const { log, lines } = create();
      const child = log.child({ node: 'n1', peer: 'p1' });
      child.info('a');
      child.child({ peer: 'p2', slot: 3 }).info('b', { slot: 4 });
      log.info('c');
      expect(lines().map(({ fields }) => fields)).toEqual([
        { node: 'n1', peer: 'p1' },
        { node: 'n1', peer: 'p2', slot: 4 },
        {},
      ]);
    });

    it('keeps an error’s code, message and cause', () => {
      const { log, lines } = create();
      const cause = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      log.error('write:failed', {
        error: new MeshError('disk_full', 'no room to write', { cause, detail: { bytes: 5 } }),
      });
      expect(lines()[0]?.fields.error).toMatchObject({
        name: 'MeshError',
        code: 'disk_full',
        message: 'no room to write',
        detail: { bytes: 5 },
        cause: { code: 'ENOSPC', message: 'ENOSPC: no space left on device' },
      });
    });

    it('takes fields that are hard to print, and throws at none of them', () => {
      const { log, lines } = create();
      const circle: Record<string, unknown> = {};
      circle.self = circle;
      const trap = {
        get value(): never {
          throw new Error('not for reading');
        },
        toJSON(): never {
          throw new Error('not for JSON either');
        },
      };
      const awkward = [circle, trap, 1n, Symbol('s'), undefined, null, Number.NaN, () => {}, new Map([[{}, 1]])];
      for (const value of awkward) log.info('awkward', { value, bytes: new Uint8Array(100_000) });
      expect(lines()).toHaveLength(awkward.length);
    });
  });
}
