// The engine over a model that reads texts and cannot write any (BERT and its kin): it embeds or reranks, counts tokens, and refuses
// to generate.
import type { Llama, LlamaModel } from "node-llama-cpp";
import { Failure } from "../errors.ts";
import type { Addon, NativeModel } from "./addon.ts";
import { gpuMemory } from "./backend.ts";
import type {
  BackendInfo,
  DecodeWork,
  Embedder,
  Engine,
  GenerationEvent,
  ModelInfo,
  PreparedSampler,
  RenderedPrompt,
  Reranker,
  SlotInfo,
  SpeculationInfo,
} from "./engine.ts";
import type { VectorModels } from "./llama-vectors.ts";
import { describeModel } from "./model-info.ts";
import { PendingReads } from "./pending-reads.ts";
import { tokenizeText } from "./text-bytes.ts";
import { TokenPieces } from "./text-stream.ts";

export type LoadedReader = {
  readonly name: string;
  readonly path: string;
  readonly contextTokens: number;
  /** Calls at once. */
  readonly maxConcurrentRequests: number;
  readonly llama: Llama;
  readonly model: LlamaModel;
  readonly addon: Addon;
  readonly native: NativeModel;
  readonly vectors: VectorModels;
};

/** @throws Error when the model is of no use: it neither embeds nor reranks */
export function createReaderEngine(loaded: LoadedReader): Engine {
  if (loaded.addon.describePooling(loaded.native).type === "none") {
    throw new Error("The model can neither generate text nor embed it nor rerank; MODEL_PATH needs another one.");
  }
  return new ReaderEngine(loaded);
}

class ReaderEngine implements Engine {
  readonly model: ModelInfo;
  readonly backend: BackendInfo;
  readonly maxConcurrentRequests: number;
  readonly embedder: Embedder | null;
  readonly reranker: Reranker | null;
  readonly #loaded: LoadedReader;
  readonly #pieces: TokenPieces;
  readonly #reads = new PendingReads();
  #disposal: Promise<void> | undefined;

  constructor(loaded: LoadedReader) {
    this.#loaded = loaded;
    this.#pieces = new TokenPieces(loaded.native.pieces(true));
    const templates = { source: "", explicit: false, caps: {} };
    this.model = describeModel({ ...loaded, templates, pieces: this.#pieces, loraScales: [] });
    this.backend = { llamaCpp: loaded.addon.llamaCppTag, device: loaded.llama.gpu || "cpu" };
    this.maxConcurrentRequests = loaded.maxConcurrentRequests;
    this.embedder = loaded.vectors.embedder;
    this.reranker = loaded.vectors.reranker;
  }

  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array> {
    return this.#reads.track(tokenizeText(this.#loaded.native, text, addSpecial, parseSpecial));
  }

  detokenize(tokens: Int32Array): Uint8Array {
    return this.#pieces.join(tokens);
  }

  async renderChat(): Promise<RenderedPrompt> {
    throw cannotGenerate();
  }

  async prepareSampler(): Promise<PreparedSampler> {
    throw cannotGenerate();
  }

  generate(): AsyncIterable<GenerationEvent> {
    throw cannotGenerate();
  }

  speculation(): SpeculationInfo {
    return { draftedTokens: 0, acceptedTokens: 0 };
  }

  slots(): SlotInfo[] {
    return [];
  }

  decodeWork(): DecodeWork {
    return { steps: 0, passes: 0 };
  }

  gpuMemory(): ReturnType<Engine["gpuMemory"]> {
    return gpuMemory(this.#loaded.llama);
  }

  async keepPrefixes(): Promise<void> {}

  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    const { vectors, model, llama } = this.#loaded;
    await vectors.dispose();
    await this.#reads.settled();
    await model.dispose();
    await llama.dispose();
  }
}

const cannotGenerate = () =>
  new Failure("unsupported_model", "The served model cannot generate text.", { param: "model" });
