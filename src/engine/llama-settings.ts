// What the configuration says about templates and contexts, for llama.cpp.
import { readFileSync } from "node:fs";
import type { Llama } from "node-llama-cpp";
import type { Config } from "../config.ts";
import type { Logger } from "../telemetry/log.ts";
import type { NativeChatTemplates, NativeContextOptions, NativeModel } from "./addon.ts";
import type { ContextSize } from "./fit.ts";
import { maxDraft, maxSpeculating } from "./speculation.ts";

/** @throws Error that says whose template does not parse */
export function loadTemplates(
  native: NativeModel,
  { config, log }: { readonly config: Config; readonly log: Logger },
): NativeChatTemplates {
  const file = config.chatTemplateFile;
  try {
    const templates = native.loadChatTemplates(file === undefined ? "" : readFileSync(file, "utf8"));
    if (!templates.explicit) log.warn("the model file has no chat template: ChatML is used");
    return templates;
  } catch (cause) {
    const whose = file === undefined ? "the model file's chat template" : `CHAT_TEMPLATE_FILE (${file})`;
    throw new Error(`${whose} is not a template that llama.cpp can parse`, { cause });
  }
}

/** What the configuration and the granted size make of a context. @param speculates steps also verify drafts */
export function contextOptions(
  config: Config,
  llama: Llama,
  size: ContextSize,
  speculates: boolean,
): NativeContextOptions {
  const draftTokens = speculates ? maxDraft * maxSpeculating : 0;
  return {
    contextTokens: size.contextTokens * size.sequences,
    batchTokens: Math.max(config.batch, size.sequences + draftTokens),
    draftTokens,
    microBatchTokens: config.ubatch,
    sequences: size.sequences,
    threads: config.threads || llama.cpuMathCores,
    flashAttention: config.flashAttn,
    keyType: config.kvTypeK,
    valueType: config.kvTypeV,
    unified: config.kvLayout === "unified",
  };
}
