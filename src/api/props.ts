// GET /props: the server's properties under llama-server's names (API.md section 13). Tells no path, and sets nothing.
import { toSettings } from "../openai/sampling-fields.ts";
import { toGenerationSettings } from "../openai/timings.ts";
import { limitsOf, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";

/** What a request gets that says nothing. */
const routeMaxTokens = -1;

export const props: Handler = (ctx, parts) => {
  const engine = servingEngine(parts);
  const { name, contextTokens, ftype, chatTemplate, bosToken, eosToken, buildId } = engine.model;
  const limits = limitsOf(engine, parts);
  const settings = toSettings({}, { ...limits, config: { ...limits.config, modelStrict: false } }, routeMaxTokens);
  const sampling = { ...settings.sampling, logitBias: [] };
  const params = {
    ...toGenerationSettings(settings, sampling, settings.maxTokens),
    // A fresh one for each request: the number of this moment would say nothing.
    ...(parts.config.seed === -1 && { seed: -1 }),
  };
  ctx.body = {
    default_generation_settings: { params, n_ctx: contextTokens },
    total_slots: engine.maxConcurrentRequests,
    model_alias: name,
    model_ftype: ftype,
    modalities: { vision: false, audio: false, video: false },
    chat_template: chatTemplate.source,
    chat_template_caps: chatTemplate.caps,
    bos_token: bosToken,
    eos_token: eosToken,
    build_info: buildId,
  };
};
