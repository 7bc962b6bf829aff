// A small model that writes ahead of the served one (DRAFT_MODEL_PATH). It keeps its own copy of what the few running sequences hold
// and guesses greedily, both sequences in one batch. Whether a guess is right is not decided here.
import type { BatchBuffers, NativeContext } from "./addon.ts";
import { Sequence } from "./sequences.ts";

/** A guess the draft model itself believes in less than this ends the draft: ln(0.4). */
const leastLogprob = Math.log(0.4);
/** Floats of a row of log-probabilities (native/src/batch_buffers.h). */
const rowLength = 21;

/** A sequence, the token after those it holds, and how many guesses are wanted. */
export type DraftRequest = { readonly sequence: Sequence; readonly last: number; readonly most: number };

type Work = {
  /** What the draft model holds of the request's text. */
  readonly slot: Sequence;
  readonly request: DraftRequest;
  readonly guesses: number[];
  /** Tokens to be decoded before the next guess. */
  readonly next: number[];
};

export type DraftModelOptions = {
  readonly context: NativeContext;
  /** Sequences of the context. */
  readonly sequences: number;
  /** Positions of one sequence. */
  readonly contextTokens: number;
  /** Tokens from here on are unknown to one of both models. */
  readonly vocabSize: number;
  /** Frees model and context. */
  readonly dispose: () => Promise<void>;
};

const greedy = {
  temperature: 0,
  topP: 1,
  topK: 1,
  minP: 0,
  seed: 0,
  repeatPenalty: 1,
  repeatLastN: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: [],
};

export class DraftModel {
  readonly #options: DraftModelOptions;
  readonly #slots: readonly Sequence[];
  readonly #buffers: BatchBuffers;
  #uses = 0;

  constructor(options: DraftModelOptions) {
    this.#options = options;
    this.#buffers = options.context.buffers();
    this.#slots = Array.from({ length: options.sequences }, (_, id) => new Sequence(id));
    for (const { id } of this.#slots) options.context.setSampler(id, greedy, new Int32Array(), 0);
  }

  /**
   * A long text that the model has not seen yet is read a batch at a time.
   * @param requests as many as the context has sequences, at most
   * @returns guesses for the sequences whose text is read, as many as wanted or as the model is sure of
   * @throws what a step of the context rejects with; nothing is trusted then
   */
  async draft(requests: readonly DraftRequest[]): Promise<ReadonlyMap<Sequence, readonly number[]>> {
    const all = this.#takeSlots(requests.filter((request) => this.#mayDraft(request)));
    try {
      for (let works = all; works.length > 0; ) works = await this.#step(works);
    } catch (error) {
      for (const slot of this.#slots) this.#cut(slot, 0);
      throw error;
    }
    const read = all.filter(({ guesses, next }) => guesses.length > 0 || next.length === 0);
    return new Map(read.map(({ request, guesses }) => [request.sequence, guesses]));
  }

  dispose(): Promise<void> {
    return this.#options.dispose();
  }

  #mayDraft({ sequence, last, most }: DraftRequest): boolean {
    const { contextTokens, vocabSize } = this.#options;
    return most > 0 && last < vocabSize && sequence.length + 1 + most <= contextTokens;
  }

  /** Each request gets the slot that holds most of its text, and what the slot lacks becomes its next tokens. */
  #takeSlots(requests: readonly DraftRequest[]): Work[] {
    const free = new Set(this.#slots);
    const works: Work[] = [];
    for (const request of requests) {
      const { sequence, last } = request;
      const slot = chooseSlot([...free], sequence);
      free.delete(slot);
      this.#cut(slot, commonPrefix(slot, sequence));
      slot.scope = sequence.scope;
      slot.generation = sequence.generation;
      slot.lastUsed = ++this.#uses;
      const next = [...sequence.tokens.subarray(slot.length, sequence.length), last];
      if (next.every((token) => token < this.#options.vocabSize)) works.push({ slot, request, guesses: [], next });
    }
    return works.sort((a, b) => a.slot.id - b.slot.id);
  }

  /** Decodes what is next for each, in id order. @returns those that go on guessing */
  async #step(works: readonly Work[]): Promise<Work[]> {
    const { tokens, positions, sequences, outputs } = this.#buffers;
    const share = Math.floor(tokens.length / works.length);
    const read: Work[] = [];
    let count = 0;
    for (const work of works) {
      const chunk = work.next.splice(0, share);
      const complete = work.next.length === 0;
      for (const [index, token] of chunk.entries()) {
        tokens[count] = token;
        positions[count] = work.slot.length;
        sequences[count] = work.slot.id;
        outputs[count++] = complete && index === chunk.length - 1 ? 1 : 0;
        work.slot.append(token);
      }
      if (complete) read.push(work);
    }
    await this.#options.context.step(count);
    return read.filter((work, output) => this.#takeGuess(work, output));
  }

  /** @returns whether to go on */
  #takeGuess({ guesses, next, request }: Work, output: number): boolean {
    const guess = this.#buffers.sampled[output]!;
    if (guess >= this.#options.vocabSize || this.#buffers.logprobs[output * rowLength]! < leastLogprob) return false;
    guesses.push(guess);
    next.push(guess);
    return guesses.length < request.most;
  }

  #cut(slot: Sequence, length: number): void {
    if (length === slot.length) return;
    this.#options.context.removeTokens(slot.id, length, -1);
    slot.length = length;
  }
}

/** The request's own; else, of those whose request is over if there are any, the best. */
function chooseSlot(free: readonly Sequence[], sequence: Sequence): Sequence {
  const own = free.find(({ generation }) => generation === sequence.generation);
  if (own) return own;
  const over = free.filter(({ generation }) => !generation || generation.finished || generation.ended);
  const slots = over.length > 0 ? over : free;
  return slots.reduce((best, slot) => (isBetter(slot, best, sequence) ? slot : best));
}

/** More of the text first; of equal ones the one whose text was used longest ago. */
function isBetter(slot: Sequence, best: Sequence, sequence: Sequence): boolean {
  const [common, most] = [commonPrefix(slot, sequence), commonPrefix(best, sequence)];
  return common > most || (common === most && slot.lastUsed < best.lastUsed);
}

/** Tokens the slot has in common with the sequence's text. Of another request only within its cache scope, as in prefix-cache.ts. */
function commonPrefix(slot: Sequence, sequence: Sequence): number {
  const shared = sequence.scope !== null && slot.scope === sequence.scope;
  if (!shared && slot.generation !== sequence.generation) return 0;
  const limit = Math.min(slot.length, sequence.length);
  let length = 0;
  while (length < limit && slot.tokens[length] === sequence.tokens[length]) length++;
  return length;
}
