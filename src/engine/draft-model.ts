// A small model that writes ahead of the served one (DRAFT_MODEL_PATH). It keeps its own copy of what the few running sequences hold
// and guesses greedily, both sequences in one batch. Whether a guess is right is not decided here.
import type { NativeDraft, NativeDraftContext, NativeDraftRequest } from "./addon.ts";
import { Sequence } from "./sequences.ts";

/** A sequence, the token after those it holds, and how many guesses are wanted. */
export type DraftRequest = { readonly sequence: Sequence; readonly last: number; readonly most: number };

/** @property slot what the draft model holds of the request's text */
type Work = { readonly slot: Sequence; readonly request: DraftRequest };

export type DraftModelOptions = {
  readonly context: NativeDraftContext;
  /** Sequences of the context. */
  readonly sequences: number;
  /** Positions of one sequence. */
  readonly contextTokens: number;
  /** Tokens of a text that are read at a time. */
  readonly batchTokens: number;
  /** Tokens from here on are unknown to one of both models. */
  readonly vocabSize: number;
  /** Frees model and context. */
  readonly dispose: () => Promise<void>;
};

export class DraftModel {
  readonly #options: DraftModelOptions;
  readonly #slots: readonly Sequence[];
  #uses = 0;

  constructor(options: DraftModelOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.sequences }, (_, id) => new Sequence(id));
  }

  /**
   * A long text that the model has not seen yet is read a batch at a time.
   * @param requests as many as the context has sequences, at most
   * @returns guesses for the sequences whose text is read, as many as wanted or as the model is sure of
   * @throws what the context rejects with; nothing is trusted then
   */
  async draft(requests: readonly DraftRequest[]): Promise<ReadonlyMap<Sequence, readonly number[]>> {
    const works = this.#takeSlots(requests.filter((request) => this.#mayDraft(request)));
    const asked = works.map((work) => this.#ask(work, Math.floor(this.#options.batchTokens / works.length)));
    const made = new Map<Sequence, readonly number[]>();
    if (works.length === 0) return made;
    try {
      const drafts = await this.#options.context.draft(asked);
      for (const [place, { slot, request }] of works.entries()) {
        const guesses = this.#take(slot, asked[place]!, drafts[place]!);
        if (asked[place]!.most > 0) made.set(request.sequence, guesses);
      }
    } catch (error) {
      for (const slot of this.#slots) slot.length = 0;
      throw error;
    }
    return made;
  }

  dispose(): Promise<void> {
    return this.#options.dispose();
  }

  #mayDraft({ sequence, last, most }: DraftRequest): boolean {
    const { contextTokens, vocabSize } = this.#options;
    return most > 0 && last < vocabSize && sequence.length + 1 + most <= contextTokens;
  }

  /** Each request gets the slot that holds most of its text. */
  #takeSlots(requests: readonly DraftRequest[]): Work[] {
    const free = new Set(this.#slots);
    const works: Work[] = [];
    for (const request of requests) {
      const { sequence } = request;
      const slot = chooseSlot([...free], sequence);
      free.delete(slot);
      slot.length = commonPrefix(slot, sequence);
      slot.scope = sequence.scope;
      slot.generation = sequence.generation;
      slot.lastUsed = ++this.#uses;
      if (missing(slot, sequence).every((token) => token < this.#options.vocabSize)) works.push({ slot, request });
    }
    return works.sort((a, b) => a.slot.id - b.slot.id);
  }

  /** What the slot lacks is read, and guesses are made once that is all of it. */
  #ask({ slot, request: { sequence, last, most } }: Work, room: number): NativeDraftRequest {
    const unread = missing(slot, sequence);
    const read = unread.slice(0, room);
    return { sequence: slot.id, keep: slot.length, read, last, most: read.length < unread.length ? 0 : most };
  }

  /** The slot holds what the context does now. @returns the guesses that both models know */
  #take(slot: Sequence, { read, last }: NativeDraftRequest, { guesses, length }: NativeDraft): readonly number[] {
    for (const token of [...read, last, ...guesses]) if (slot.length < length) slot.append(token);
    const unknown = guesses.findIndex((token) => token >= this.#options.vocabSize);
    return [...(unknown < 0 ? guesses : guesses.subarray(0, unknown))];
  }
}

/** What the slot, which holds a beginning of the sequence's text, lacks of it. */
const missing = (slot: Sequence, { tokens, length }: Sequence) => tokens.subarray(slot.length, length);

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
