// From a chat request's prompt to its tokens: what the template refuses, what it does not look at, and how the chat routes that
// generate nothing answer.
import type { ChatPrompt, Engine, RenderedPrompt } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import { readJsonObject } from "../http/body.ts";
import { answerInPieces, textMember } from "../http/long-answer.ts";
import { type ChatRequest, parseChatRequest } from "../openai/chat-request.ts";
import { formatIgnored } from "../openai/ignored-parameters.ts";
import type { ChoiceRequest } from "./choices.ts";
import { checkForm } from "./constrain.ts";
import { limitsOf, planChoices, resolveBias, servingEngine } from "./generate.ts";
import type { Context, Handler } from "./handler.ts";
import { inTurns } from "./in-turns.ts";
import type { Parts } from "./parts.ts";

/**
 * Applies the template. A system message later than the first goes as the user's where the template does not take it as it is.
 * @throws Failure chat_template_error
 */
async function renderPrompt(engine: Engine, prompt: ChatPrompt): Promise<RenderedPrompt> {
  try {
    return await engine.renderChat(prompt);
  } catch (error) {
    const hasLaterSystem = prompt.messages.some(({ role }, index) => role === "system" && index > 0);
    if (!(error instanceof Failure) || error.kind !== "chat_template_error" || !hasLaterSystem) throw error;
    const messages = prompt.messages.map((message, index) =>
      message.role === "system" && index > 0 ? { ...message, role: "user" as const } : message,
    );
    return engine.renderChat({ ...prompt, messages });
  }
}

/** All fields of a chat request without effect: by themselves, and with this template. */
export function ignoredBy(
  engine: Engine,
  { ignored, needs }: Pick<ChatRequest, "ignored" | "needs">,
  { answer }: RenderedPrompt,
): string[] {
  const { source } = engine.model.chatTemplate;
  const idle = needs.filter(({ variable }) => (variable === "tags" ? !answer.thinks : !source.includes(variable)));
  return [...ignored, ...idle.map(({ field }) => field)];
}

/**
 * For a route that generates: the prompt, and a plan of every choice.
 * @param param the field that holds the messages
 * @throws Failure 400
 */
export async function planChat(
  ctx: Context,
  parts: Parts,
  {
    engine,
    prompt,
    settings,
    param,
  }: Pick<ChatRequest, "prompt" | "settings"> & {
    readonly engine: Engine;
    readonly param: "messages" | "input";
  },
): Promise<{ readonly rendered: RenderedPrompt; readonly choices: ChoiceRequest[] }> {
  const logitBias = await resolveBias(engine, settings);
  const rendered = await renderPrompt(engine, prompt);
  const choices = await planChoices(ctx, parts, { engine, settings, logitBias, prompts: [rendered], param });
  return { rendered, choices };
}

/**
 * For a route that generates nothing: all that a generating one checks before it looks at the context.
 * @throws Failure 400
 */
export async function renderOnly(
  engine: Engine,
  { prompt, settings }: Pick<ChatRequest, "prompt" | "settings">,
): Promise<RenderedPrompt> {
  await resolveBias(engine, settings);
  const rendered = await renderPrompt(engine, prompt);
  await checkForm(engine, settings, rendered.answer);
  return rendered;
}

/** POST /v1/chat/completions/input_tokens: counts without judging whether the prompt fits. */
export const countChatTokens: Handler = async (ctx, parts) => {
  const { tokens } = await renderBody(ctx, parts);
  ctx.body = { object: "response.input_tokens", input_tokens: tokens.length };
};

/** POST /apply-template: the prompt as the template wrote it. */
export const applyTemplate: Handler = async (ctx, parts) => {
  const { text } = await renderBody(ctx, parts);
  await answerInPieces(ctx, textMember("prompt", slicesOf(text)));
};

/** Bytes of a text that are written between two turns of the loop. */
const bytesPerTurn = 256 * 1024;

function* slicesOf(text: Uint8Array): Generator<Uint8Array> {
  for (let begin = 0; begin < text.length; begin += bytesPerTurn) yield text.subarray(begin, begin + bytesPerTurn);
}

/** For an answer that tells it. It fits the context, so it is not too long to be decoded at once. */
export function promptText({ text }: RenderedPrompt): string {
  return Buffer.from(text).toString();
}

async function renderBody(ctx: Context, parts: Parts): Promise<RenderedPrompt> {
  const engine = servingEngine(parts);
  const request = await inTurns(parseChatRequest(await readJsonObject(ctx, parts.config), limitsOf(engine, parts)));
  const rendered = await renderOnly(engine, request);
  const report = formatIgnored(ignoredBy(engine, request, rendered));
  if (report) ctx.set("x-ignored-parameters", report);
  return rendered;
}
