import type { CheckerFactory } from './checker.ts';

/** Invariant 12, as far as it shows from outside: a node that was stopped leaves no timer and no work behind. */
export const cleanStop: CheckerFactory = {
  name: 'clean-stop',
  create: () => ({
    ended: (machine, violate) => {
      const left = machine.process?.clock.pendingTimers ?? 0;
      if (left > 0) violate(`${machine.name} was stopped and left ${left} timers behind`);
    },
  }),
};
