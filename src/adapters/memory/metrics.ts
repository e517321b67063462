import type { Counter, Gauge, Histogram, MetricDefinition, MetricLabels, Metrics } from '../../ports/metrics.ts';

interface Family {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly samples: Map<string, { value: number; observations: number }>;
}

const noLabels: MetricLabels = {};
const noLabelsKey = '[]';

/** What Prometheus takes for a name. */
const namePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** Metrics a test reads back: a counter's total, a gauge's last value, a histogram's sum and count. */
export class MemoryMetrics implements Metrics {
  readonly #families = new Map<string, Family>();

  counter(definition: MetricDefinition): Counter {
    const family = this.#family('counter', definition);
    return {
      add: (amount, labels) => {
        if (!(amount >= 0)) throw new RangeError(`${definition.name} can only grow`);
        sample(family, definition.name, labels).value += amount;
      },
    };
  }

  gauge(definition: MetricDefinition): Gauge {
    const family = this.#family('gauge', definition);
    return {
      set: (value, labels) => {
        sample(family, definition.name, labels).value = value;
      },
    };
  }

  histogram(definition: MetricDefinition & { readonly buckets: readonly number[] }): Histogram {
    const family = this.#family('histogram', definition);
    return {
      observe: (value, labels) => {
        const entry = sample(family, definition.name, labels);
        entry.value += value;
        entry.observations++;
      },
    };
  }

  /** The counter's total, the gauge's value or the histogram's sum; 0 when nothing was recorded. */
  value(name: string, labels: MetricLabels = {}): number {
    return this.#families.get(name)?.samples.get(sampleKey(labels))?.value ?? 0;
  }

  /** How many values a histogram has seen. */
  observations(name: string, labels: MetricLabels = {}): number {
    return this.#families.get(name)?.samples.get(sampleKey(labels))?.observations ?? 0;
  }

  #family(kind: Family['kind'], definition: MetricDefinition): Family {
    if (!namePattern.test(definition.name)) throw new TypeError(`"${definition.name}" is no name for a metric`);
    const known = this.#families.get(definition.name);
    if (known !== undefined) {
      if (known.kind !== kind) throw new TypeError(`${definition.name} is a ${known.kind} already`);
      return known;
    }
    const family: Family = { kind, labels: definition.labels ?? [], samples: new Map() };
    this.#families.set(definition.name, family);
    return family;
  }
}

function sample(
  family: Family,
  name: string,
  labels: MetricLabels = noLabels,
): { value: number; observations: number } {
  for (const label of Object.keys(labels)) {
    if (!family.labels.includes(label)) throw new TypeError(`${name} has no label ${label}`);
  }
  const key = sampleKey(labels);
  let entry = family.samples.get(key);
  if (entry === undefined) {
    entry = { value: 0, observations: 0 };
    family.samples.set(key, entry);
  }
  return entry;
}

function sampleKey(labels: MetricLabels): string {
  // Most metrics have no label, and a run of the simulator counts things by the ten thousand.
  if (labels === noLabels) return noLabelsKey;
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
