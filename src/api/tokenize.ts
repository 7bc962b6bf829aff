// POST /tokenize and /detokenize: text to the main model's tokens and back, as llama-server does it (API.md section 13).
import type { Engine } from "../engine/engine.ts";
import { readJsonObject } from "../http/body.ts";
import { formatIgnored } from "../openai/ignored-parameters.ts";
import { parseDetokenizeRequest, parseTokenizeRequest, type TokenLimits } from "../openai/token-requests.ts";
import { servingEngine } from "./generate.ts";
import type { Context, Handler } from "./handler.ts";
import type { Parts } from "./parts.ts";
import { tokensOf } from "./pieces.ts";

export const tokenize: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = parseTokenizeRequest(await readJsonObject(ctx, parts.config), tokenLimits(engine, parts));
  const tokens = Array.from(await tokensOf(engine, request));
  report(ctx, request.ignored);
  ctx.body = { tokens: request.withPieces ? tokens.map((id) => ({ id, piece: pieceOf(engine, id) })) : tokens };
};

export const detokenize: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const body = await readJsonObject(ctx, parts.config);
  const { tokens, ignored } = parseDetokenizeRequest(body, tokenLimits(engine, parts));
  report(ctx, ignored);
  ctx.body = { content: Buffer.from(engine.detokenize(tokens)).toString() };
};

function tokenLimits({ model }: Engine, { config }: Parts): TokenLimits {
  return { config, modelName: model.name, vocabSize: model.vocabSize };
}

/** Text, or bytes where they are only a part of a character. */
function pieceOf(engine: Engine, token: number): string | number[] {
  const bytes = Buffer.from(engine.detokenize(Int32Array.of(token)));
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes) ? text : [...bytes];
}

function report(ctx: Context, ignored: readonly string[]): void {
  const value = formatIgnored(ignored);
  if (value) ctx.set("x-ignored-parameters", value);
}
