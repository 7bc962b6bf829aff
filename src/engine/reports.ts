// What an engine tells about its work: a part of the seam (engine.ts), whose users import it from there.

/** What one sequence is doing; never text or parameters. Token counts of an idle one are zero, but for cachedTokens. */
export type SlotInfo = {
  readonly id: number;
  readonly state: "idle" | "prefill" | "decode";
  readonly caller: { readonly keyId: string; readonly requestId: string } | null;
  /** Milliseconds since the sequence was given away; 0 when idle. */
  readonly ageMs: number;
  readonly promptTokens: number;
  readonly promptTokensProcessed: number;
  /** Busy: prompt tokens that were not evaluated again. Idle: tokens it keeps for reuse. */
  readonly cachedTokens: number;
  readonly decodedTokens: number;
  /** Tokens the answer may still have. */
  readonly remainingTokens: number;
};

/** Tokens since the start that were guessed before they were sampled, and those of them that were guessed rightly. */
export type SpeculationInfo = { readonly draftedTokens: number; readonly acceptedTokens: number };

/** Steps that decoded, and the compute passes it took: above one a step, gaps between decoding sequences cost speed. */
export type DecodeWork = { readonly steps: number; readonly passes: number };

/** What the model runs on. */
export type BackendInfo = {
  /** llama.cpp's release. */
  readonly llamaCpp: string;
  readonly device: "cpu" | "cuda" | "vulkan" | "metal";
};
