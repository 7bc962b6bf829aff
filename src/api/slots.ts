// GET /slots, for administrators: what each sequence is doing, under llama-server's names where it has them (API.md section 13).
// Never text and never parameters.
import type { SlotInfo } from "../engine/engine.ts";
import type { Handler } from "./handler.ts";

/** An empty list while there is no engine. */
export const slots: Handler = (ctx, parts) => {
  const engine = parts.engine();
  ctx.body = engine ? engine.slots().map((slot) => describeSlot(slot, engine.model.contextTokens)) : [];
};

function describeSlot(slot: SlotInfo, contextTokens: number): object {
  return {
    id: slot.id,
    n_ctx: contextTokens,
    is_processing: slot.state !== "idle",
    state: slot.state,
    key_id: slot.caller?.keyId ?? null,
    request_id: slot.caller?.requestId ?? null,
    age_ms: Math.round(slot.ageMs),
    n_prompt_tokens: slot.promptTokens,
    n_prompt_tokens_processed: slot.promptTokensProcessed,
    n_prompt_tokens_cache: slot.cachedTokens,
    n_decoded: slot.decodedTokens,
    n_remain: slot.remainingTokens,
  };
}
