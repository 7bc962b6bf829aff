// `bench engine`: tokens per second of our engine and of node-llama-cpp's own loop on the same model, prompts and threads.
// Both loops live in this process one after the other, never at the same time.
import { performance } from "node:perf_hooks";
import { PeerLoop, type PeerOptions } from "../engine/peer-loop.ts";
import { OurLoop } from "./our-loop.ts";
import { RandomBytes } from "./random-bytes.ts";

export type EngineBenchOptions = {
  readonly modelPath: string;
  /** The model may choose an end token under greedy decoding, so our engine must be kept from it. */
  readonly mayEnd: boolean;
  /** Requests at once, one measurement each. */
  readonly sequences: readonly number[];
  readonly promptTokens: number;
  readonly tokens: number;
  readonly threads: number;
  readonly gpu: PeerOptions["gpu"];
  /** Measurements of each loop, in turns; the fastest counts, as what disturbs a run only slows it. */
  readonly rounds: number;
};

export type Comparison = {
  readonly sequences: number;
  /** Generated tokens of all requests over the time from the first prompt to the last token. */
  readonly tokensPerSecond: { readonly ours: number; readonly nodeLlamaCpp: number };
  readonly ratio: number;
};

type Generate = (prompt: Int32Array, maxTokens: number) => Promise<number>;

/** @throws Error when a loop cannot be opened or an answer is shorter than asked */
export async function* benchEngine(options: EngineBenchOptions): AsyncGenerator<Comparison> {
  for (const sequences of options.sequences) {
    const rates = { ours: 0, nodeLlamaCpp: 0 };
    for (let round = 0; round < options.rounds; round += 1) {
      const prompts = new Prompts(round, sequences, options.promptTokens);
      const peer = await measurePeer(options, prompts);
      rates.nodeLlamaCpp = Math.max(rates.nodeLlamaCpp, peer.rate);
      rates.ours = Math.max(rates.ours, await measureOurs(options, prompts, peer.endTokens));
    }
    yield { sequences, tokensPerSecond: rates, ratio: rates.ours / rates.nodeLlamaCpp };
  }
}

/** One measurement's prompts: no two alike, none like the warm-up's, so nothing is found in a cache. */
class Prompts {
  readonly count: number;
  readonly #length: number;
  readonly #seed: number;

  constructor(round: number, count: number, length: number) {
    this.#seed = round + 1;
    this.count = count;
    this.#length = length;
  }

  make(purpose: "warm-up" | "measure", vocabularySize: number): Int32Array[] {
    const first = purpose === "measure" ? 0 : this.count;
    return Array.from({ length: this.count }, (_, index) => {
      const random = new RandomBytes(this.#seed, this.count * 1000 + first + index);
      return Int32Array.from({ length: this.#length }, () => random.below(vocabularySize));
    });
  }
}

async function measurePeer(options: EngineBenchOptions, prompts: Prompts) {
  const loop = await PeerLoop.open(loopOptions(options, prompts.count));
  try {
    const rate = await measure(options, prompts, loop.vocabularySize, (prompt, count) => loop.generate(prompt, count));
    return { rate, endTokens: loop.endTokens };
  } finally {
    await loop.dispose();
  }
}

async function measureOurs(options: EngineBenchOptions, prompts: Prompts, endTokens: readonly number[]) {
  const loop = await OurLoop.open(loopOptions(options, prompts.count));
  const never = options.mayEnd ? endTokens : [];
  try {
    return await measure(options, prompts, loop.vocabularySize, (prompt, count) => loop.generate(prompt, count, never));
  } finally {
    await loop.dispose();
  }
}

function loopOptions(options: EngineBenchOptions, sequences: number): PeerOptions {
  const { modelPath, threads, gpu } = options;
  const contextTokens = Math.ceil((options.promptTokens + options.tokens + 1) / 256) * 256;
  return { modelPath, threads, gpu, sequences, contextTokens, batchTokens: 2048 };
}

/** @returns tokens per second of all prompts together */
async function measure(options: EngineBenchOptions, prompts: Prompts, vocabularySize: number, generate: Generate) {
  await generateAll(prompts.make("warm-up", vocabularySize), 4, generate);
  const measured = prompts.make("measure", vocabularySize);
  const began = performance.now();
  await generateAll(measured, options.tokens, generate);
  return (measured.length * options.tokens * 1000) / (performance.now() - began);
}

async function generateAll(prompts: readonly Int32Array[], tokens: number, generate: Generate): Promise<void> {
  const counts = await Promise.all(prompts.map((prompt) => generate(prompt, tokens)));
  const short = counts.find((count) => count !== tokens);
  if (short !== undefined) throw new Error(`an answer has ${short} tokens instead of ${tokens}`);
}
