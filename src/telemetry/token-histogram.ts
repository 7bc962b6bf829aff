// A histogram without labels, for what happens with every token: prom-client's own looks its labels up for each value, which was a
// twentieth of all that a token costs the main thread.
import type { Histogram, Metric, Registry } from "prom-client";

export type TokenHistogramOptions = {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, ascending. */
  readonly buckets: readonly number[];
  readonly registers: readonly Registry[];
};

type Values = Awaited<ReturnType<Histogram["get"]>>;

export class TokenHistogram {
  readonly name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  /** Of values by bucket; the last is of those above all bounds. */
  readonly #counts: number[];
  #sum = 0;

  constructor({ name, help, buckets, registers }: TokenHistogramOptions) {
    this.name = name;
    this.#help = help;
    this.#bounds = buckets;
    this.#counts = new Array<number>(buckets.length + 1).fill(0);
    // All that a registry asks of a metric is its name and its values.
    for (const registry of registers) registry.registerMetric(this as unknown as Metric);
  }

  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > this.#bounds[bucket]!) bucket += 1;
    this.#counts[bucket]! += 1;
    this.#sum += value;
  }

  async get(): Promise<Values> {
    const values: Values["values"] = [];
    let count = 0;
    for (const [bucket, inBucket] of this.#counts.entries()) {
      count += inBucket;
      values.push({ labels: { le: this.#bounds[bucket] ?? "+Inf" }, value: count, metricName: `${this.name}_bucket` });
    }
    values.push({ labels: {}, value: this.#sum, metricName: `${this.name}_sum` });
    values.push({ labels: {}, value: count, metricName: `${this.name}_count` });
    return { name: this.name, help: this.#help, type: "histogram", aggregator: "sum", values } as unknown as Values;
  }
}
