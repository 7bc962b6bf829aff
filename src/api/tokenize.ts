// POST /tokenize and /detokenize: text to the main model's tokens and back, as llama-server does it (API.md section 13).
import type { Engine } from "../engine/engine.ts";
import { readJsonObject } from "../http/body.ts";
import { answerInPieces, textMember } from "../http/long-answer.ts";
import { formatIgnored } from "../openai/ignored-parameters.ts";
import { parseDetokenizeRequest, parseTokenizeRequest, type TokenLimits } from "../openai/token-requests.ts";
import { servingEngine } from "./generate.ts";
import type { Context, Handler } from "./handler.ts";
import type { Parts } from "./parts.ts";
import { tokensOf } from "./pieces.ts";

/** Tokens written between two turns of the loop: a body may come to millions. */
const tokensPerTurn = 4096;

export const tokenize: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const request = parseTokenizeRequest(await readJsonObject(ctx, parts.config), tokenLimits(engine, parts));
  const tokens = await tokensOf(engine, request);
  report(ctx, request.ignored);
  const write = request.withPieces ? pieceWriter(engine) : (slice: Int32Array) => slice.join(",");
  await answerInPieces(ctx, tokensText(tokens, write));
};

export const detokenize: Handler = async (ctx, parts) => {
  const engine = servingEngine(parts);
  const body = await readJsonObject(ctx, parts.config);
  const { tokens, ignored } = parseDetokenizeRequest(body, tokenLimits(engine, parts));
  report(ctx, ignored);
  await answerInPieces(ctx, textMember("content", bytesOf(engine, tokens)));
};

function tokenLimits({ model }: Engine, { config }: Parts): TokenLimits {
  return { config, modelName: model.name, vocabSize: model.vocabSize };
}

function* slicesOf(tokens: Int32Array): Generator<Int32Array> {
  for (let begin = 0; begin < tokens.length; begin += tokensPerTurn)
    yield tokens.subarray(begin, begin + tokensPerTurn);
}

function* tokensText(tokens: Int32Array, write: (slice: Int32Array) => string): Generator<string> {
  let before = '{"tokens":[';
  for (const slice of slicesOf(tokens)) {
    yield before + write(slice);
    before = ",";
  }
  yield tokens.length === 0 ? `${before}]}` : "]}";
}

function* bytesOf(engine: Engine, tokens: Int32Array): Generator<Uint8Array> {
  for (const slice of slicesOf(tokens)) yield engine.detokenize(slice);
}

/** Each token as an object with its text, or its bytes where they are only a part of a character; made once for each id. */
function pieceWriter(engine: Engine): (slice: Int32Array) => string {
  const written = new Map<number, string>();
  const write = (id: number): string => {
    const bytes = Buffer.from(engine.detokenize(Int32Array.of(id)));
    const text = bytes.toString();
    const entry = JSON.stringify({ id, piece: Buffer.from(text).equals(bytes) ? text : [...bytes] });
    written.set(id, entry);
    return entry;
  };
  return (slice) => Array.from(slice, (id) => written.get(id) ?? write(id)).join(",");
}

function report(ctx: Context, ignored: readonly string[]): void {
  const value = formatIgnored(ignored);
  if (value) ctx.set("x-ignored-parameters", value);
}
