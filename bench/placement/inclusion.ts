const steps = 2_000;

/**
 * The probability of each candidate to be among the first `count` to arrive, when arrival times are exponentially
 * distributed with the weights as rates: over its own arrival, the probability that fewer than `count` others came before.
 */
export function inclusionProbabilities(weights: readonly number[], count: number): number[] {
  return weights.map((weight, index) => {
    const others = weights.filter((_, other) => other !== index);
    let sum = 0;
    for (let step = 0; step < steps; step += 1) {
      sum += fewerThan(count, others, -Math.log(1 - (step + 0.5) / steps) / weight);
    }
    return sum / steps;
  });
}

/** The probability that fewer than `count` of them have arrived by then: a Poisson binomial, term by term. */
function fewerThan(count: number, rates: readonly number[], time: number): number {
  const arrived = [1, ...new Array<number>(count - 1).fill(0)];
  for (const rate of rates) {
    const came = 1 - Math.exp(-rate * time);
    for (let number = count - 1; number >= 0; number -= 1) {
      arrived[number] = (arrived[number] ?? 0) * (1 - came) + (number > 0 ? (arrived[number - 1] ?? 0) * came : 0);
    }
  }
  return arrived.reduce((sum, probability) => sum + probability, 0);
}
