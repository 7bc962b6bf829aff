// How long a step takes on this machine: learned from every step, forgotten slowly. A Kalman filter over three figures, so that what
// is not being measured right now stays as it was, and what a busy moment measures wrongly counts little.

/** Milliseconds of: decoding at all; each sequence that decodes; each prompt token. */
type Figures = [number, number, number];

/** Measurements differ from the truth by about this share of themselves. */
const noise = 0.1;
/** And by this many milliseconds at least: what seems exact would be believed for ever, and rounding would turn it into nonsense. */
const leastNoise = 0.01;
/** A figure changes by about this share of itself from step to step: contexts grow, other programs come and go. */
const drift = 0.02;
/** Before the first measurements a figure may be anything up to about this. */
const unknown: Figures = [100, 10, 10];
const least: Figures = [1e-3, 1e-3, 1e-4];

export class StepCost {
  readonly #figures: Figures = [0, 0, 0];
  readonly #covariance = unknown.map((deviation, i) => unknown.map((_, j) => (i === j ? deviation ** 2 : 0)));
  #known = false;

  /** A step with prompt tokens was measured. */
  get known(): boolean {
    return this.#known;
  }

  /** Milliseconds of a step that decodes this many sequences and nothing else. */
  decodeMs(sequences: number): number {
    const [base, each] = this.#figures;
    return base + each * sequences;
  }

  get promptTokenMs(): number {
    return this.#figures[2];
  }

  /** A step took `ms` for one token of each of these sequences and these prompt tokens. */
  observe(sequences: number, promptTokens: number, ms: number): void {
    this.#known ||= promptTokens > 0;
    const step = [sequences > 0 ? 1 : 0, sequences, promptTokens];
    const figures = this.#figures;
    const covariance = this.#covariance;
    for (const [i, figure] of figures.entries()) {
      const row = covariance[i]!;
      row[i] = Math.min(row[i]! + (drift * figure) ** 2, unknown[i]! ** 2);
    }
    const shared = covariance.map((row) => dot(row, step));
    const variance = dot(shared, step) + Math.max(noise * ms, leastNoise) ** 2;
    const surprise = ms - dot(figures, step);
    for (const [i, gain] of shared.entries()) {
      figures[i] = Math.max(figures[i]! + (gain / variance) * surprise, least[i]!);
      for (const [j, other] of shared.entries()) covariance[i]![j]! -= (gain * other) / variance;
    }
  }
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}
