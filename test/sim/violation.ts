/** An invariant does not hold, or a node did what none may. */
export class Violation extends Error {
  /** The checker that found it. */
  readonly checker: string;

  constructor(checker: string, message: string) {
    super(`${checker}: ${message}`);
    this.name = 'Violation';
    this.checker = checker;
  }
}
