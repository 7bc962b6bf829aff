// Reads the log-probabilities that a step left in the batch buffers (native/src/batch_buffers.h).
import type { BatchBuffers } from "./addon.ts";
import type { ScoredToken, TokenLogprob } from "./engine.ts";
import type { TokenPieces } from "./text-stream.ts";

/** The sampled or scored token and the 20 most likely ones. */
export const rowLength = 21;

/**
 * @param output which output of the step
 * @param count how many of the most likely tokens
 */
export function readLogprobs(buffers: BatchBuffers, pieces: TokenPieces, output: number, count: number): ScoredToken {
  const row = output * rowLength;
  const at = (index: number): TokenLogprob => {
    const token = buffers.topTokens[index]!;
    return { token, bytes: pieces.bytes(token), logprob: buffers.logprobs[index]! };
  };
  return { ...at(row), top: Array.from({ length: count }, (_, i) => at(row + 1 + i)) };
}
