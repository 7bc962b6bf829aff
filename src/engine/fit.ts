// Fits the context into the memory there is (CONTRACT.md section 2.2): concurrency gives way first, then CTX. Pure arithmetic; who
// measures memory is memory.ts.

export type ContextSize = { readonly contextTokens: number; readonly sequences: number };

/** What a context needs on one device, by its size. */
export type ContextCost = {
  readonly fixedBytes: number;
  /** Of each sequence, however long: a recurrent state, the cells of a sliding window. */
  readonly bytesPerSequence: number;
  /** Of each token of each sequence: keys and values. */
  readonly bytesPerToken: number;
  /** Of each position that a token may have, once for all sequences: what a compute pass needs to look back so far. */
  readonly bytesPerPosition: number;
};

export type DeviceMemory = {
  readonly name: string;
  readonly freeBytes: number;
  /** Of the model, and of a draft model, which needs no more than `most`. */
  readonly contexts: readonly { readonly cost: ContextCost; readonly most?: ContextSize | undefined }[];
};

/** CTX is lowered in steps of this, and no further than `leastContextTokens`. */
const contextStep = 256;
const leastContextTokens = 2048;
const leastHeadroomBytes = 256 * 2 ** 20;

/** Memory left alone: an out-of-memory error inside CUDA would abort the process. */
const usable = (freeBytes: number) => freeBytes - Math.max(freeBytes * 0.05, leastHeadroomBytes);

/** As large as asked, where it needs no more. */
export const capped = (asked: ContextSize, most: ContextSize = asked): ContextSize => ({
  contextTokens: Math.min(asked.contextTokens, most.contextTokens),
  sequences: Math.min(asked.sequences, most.sequences),
});

export function costOf(cost: ContextCost, { contextTokens, sequences }: ContextSize): number {
  const perSequence = cost.bytesPerSequence + cost.bytesPerToken * contextTokens;
  return cost.fixedBytes + cost.bytesPerPosition * contextTokens + perSequence * sequences;
}

const need = ({ contexts }: DeviceMemory, size: ContextSize) =>
  contexts.reduce((bytes, { cost, most }) => bytes + costOf(cost, capped(size, most)), 0);

export function fits(size: ContextSize, devices: readonly DeviceMemory[]): boolean {
  return devices.every((device) => need(device, size) <= usable(device.freeBytes));
}

/** The largest size that fits, asked size first. @returns undefined when none does */
export function fit(asked: ContextSize, devices: readonly DeviceMemory[]): ContextSize | undefined {
  const { contextTokens } = asked;
  for (let sequences = asked.sequences; sequences >= 1; sequences--) {
    if (fits({ contextTokens, sequences }, devices)) return { contextTokens, sequences };
  }
  return largestContext({ contextTokens, sequences: 1 }, devices, Math.min(leastContextTokens, contextTokens));
}

/** The largest CTX for this concurrency, `least` at least. */
function largestContext(asked: ContextSize, devices: readonly DeviceMemory[], least: number): ContextSize | undefined {
  for (let tokens = asked.contextTokens; tokens >= least; tokens = Math.max(tokens - contextStep, least)) {
    const size = { ...asked, contextTokens: tokens };
    if (fits(size, devices)) return size;
    if (tokens === least) return undefined;
  }
  return undefined;
}

/** Says what was asked, what there is and what would fit. */
export function describeMisfit(asked: ContextSize, devices: readonly DeviceMemory[]): string {
  const { contextTokens, sequences } = asked;
  const tight = devices.filter((device) => need(device, asked) > usable(device.freeBytes));
  const lines = tight.map(
    (device) =>
      `${device.name}: ${megabytes(need(device, asked))} needed, ${megabytes(usable(device.freeBytes))} usable`,
  );
  const context = largestContext(asked, devices, contextStep);
  const alone = largestContext({ contextTokens, sequences: 1 }, devices, contextTokens);
  let most = alone ? sequences : 0;
  while (most > 0 && !fits({ contextTokens, sequences: most }, devices)) most--;
  return [
    `CTX=${contextTokens} with MAX_CONCURRENT_REQUESTS=${sequences} does not fit into memory ` +
      `(${lines.join("; ")}${tight.some(({ contexts }) => contexts.length > 1) ? "; DRAFT_MODEL_PATH included" : ""}).`,
    context ? `The largest CTX for this concurrency is ${context.contextTokens}.` : "No CTX fits this concurrency.",
    most > 0 ? `The largest concurrency for this CTX is ${most}.` : "Not even one request fits with this CTX.",
  ].join(" ");
}

const megabytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
