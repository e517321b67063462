import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import { beginRun, endRun } from './composite-signals.ts';

const listened = (): AbortSignal => {
  const signal = AbortSignal.any([new AbortController().signal]);
  signal.addEventListener('abort', () => undefined);
  return signal;
};

it('lets go of the listeners of composite signals when the last run is over, and not before', () => {
  const { any } = AbortSignal;
  beginRun();
  const first = listened();
  beginRun();
  const second = listened();
  endRun();
  expect([first, second].map((signal) => getEventListeners(signal, 'abort').length)).toEqual([1, 1]);
  endRun();
  expect([first, second].map((signal) => getEventListeners(signal, 'abort').length)).toEqual([0, 0]);
  expect(AbortSignal.any).toBe(any);
});
