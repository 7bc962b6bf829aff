// POST /v1/completions.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Engine } from "../engine/engine.ts";
import { readJsonObject } from "../http/body.ts";
import { createHead } from "../openai/answer.ts";
import { CompletionAnswer } from "../openai/completion-chunks.ts";
import type { Echo } from "../openai/completion-logprobs.ts";
import { type CompletionRequest, parseCompletionRequest } from "../openai/completion-request.ts";
import type { PromptPiece } from "../openai/prompt-pieces.ts";
import { toGenerationSettings } from "../openai/timings.ts";
import { middlePrompt } from "./fill-in-the-middle.ts";
import { answerWith, limitsOf, type Prompt, planChoices, resolveBias, servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { addedBefore, textOf, tokenizePieces } from "./pieces.ts";

export const completions: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = parseCompletionRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts));
  const { settings, ignored, nativeLogprobs } = request;
  const logitBias = await resolveBias(engine, settings);
  const prompts = await promptsOf(engine, request);
  const choices = await planChoices(ctx, parts, { engine, settings, logitBias, prompts, param: "prompt" });
  const { prompt, sampling, maxTokens } = choices[0]!;
  const { timings, timingsPerToken, verbose } = settings.report;
  const form = new CompletionAnswer(createHead("cmpl-", engine.model), {
    includeUsage: settings.includeUsage,
    choices: choices.length,
    n: settings.n,
    logprobs: nativeLogprobs ? undefined : settings.logprobs,
    echo: request.echo ? await echoesOf(engine, request, prompts) : undefined,
    timings,
    timingsPerToken,
    // Of several prompts the first one.
    verbose: verbose
      ? {
          prompt: textOf(engine, prompt),
          generation_settings: toGenerationSettings(settings, sampling, maxTokens),
        }
      : undefined,
  });
  await answerWith(ctx, parts, { engine, settings, ignored, choices, form });
};

async function promptsOf(engine: Engine, { prompts, listed, suffix }: CompletionRequest): Promise<Prompt[]> {
  if (suffix !== undefined) {
    const prefix = prompts[0]!.join("");
    return [{ tokens: await middlePrompt(engine, { prefix, suffix }) }];
  }
  const tokenized: Prompt[] = [];
  for (const [index, pieces] of prompts.entries()) {
    const path = listed ? `prompt[${index}]` : "prompt";
    tokenized.push({ tokens: await tokenizePieces(engine, pieces, path) });
  }
  return tokenized;
}

/** Tokens only where something is told of them. */
async function echoesOf(engine: Engine, request: CompletionRequest, prompts: readonly Prompt[]): Promise<Echo[]> {
  const scored = request.settings.promptLogprobs !== undefined;
  const echoes: Echo[] = [];
  for (const [index, pieces] of request.prompts.entries()) {
    const text = echoText(engine, pieces);
    const hidden = scored ? await addedBefore(engine, pieces) : 0;
    const shown = scored ? prompts[index]!.tokens.subarray(hidden) : new Int32Array();
    echoes.push({ text, hidden, tokens: await bytesOf(engine, shown) });
  }
  return echoes;
}

/** Of each token. A prompt may be long, and the others do not wait for it. */
async function bytesOf(engine: Engine, tokens: Int32Array): Promise<Uint8Array[]> {
  const bytes: Uint8Array[] = [];
  for (const [index, token] of tokens.entries()) {
    if (index > 0 && index % 1024 === 0) await nextTurn();
    bytes.push(engine.detokenize(Int32Array.of(token)));
  }
  return bytes;
}

/** As it was sent; token ids as their text, neighbours together, since a character may be made of several. */
function echoText(engine: Engine, pieces: readonly PromptPiece[]): string {
  let text = "";
  let ids: number[] = [];
  for (const piece of [...pieces, ""]) {
    if (typeof piece === "number") {
      ids.push(piece);
      continue;
    }
    text += textOf(engine, Int32Array.from(ids)) + piece;
    ids = [];
  }
  return text;
}
