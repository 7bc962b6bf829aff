// POST /v1/embeddings.
import type { Embedder } from "../engine/engine.ts";
import { readJsonObject } from "../http/body.ts";
import { answerWithSlices, encodeInTurns } from "../http/large-json.ts";
import { type EmbeddingsRequest, parseEmbeddingsRequest } from "../openai/embeddings-request.ts";
import { unsupportedModel } from "../openai/refusals.ts";
import { type VectorForm, writeVector } from "../openai/vectors.ts";
import { servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { tokenizePieces } from "./pieces.ts";
import { expectFits, runVectors, sumTokens, type VectorWork } from "./vectors.ts";

export const embeddings: Handler = async (ctx, parts) => {
  const { embedder } = servingEngine(parts);
  const body = await readJsonObject(ctx, parts.config);
  if (!embedder) throw unsupportedModel("embed texts");
  const { name: modelName, vocabSize, embeddingLength: width } = embedder.model;
  const { config } = parts;
  const request = parseEmbeddingsRequest(body, { config, modelName, vocabSize, width });
  const inputs = await tokenizeInputs(embedder, request, ctx.state.signal);
  const promptTokens = sumTokens(inputs);
  const run: VectorWork<Float32Array[]>["run"] = (signal, onTokens) => embedder.embed(inputs, signal, onTokens);
  const vectors = await runVectors(ctx, parts, { promptTokens, ignored: request.ignored, run });
  const { signal } = ctx.state;
  const slices = await encodeInTurns(writeReply(vectors, request.form, { modelName, promptTokens }));
  answerWithSlices(ctx, slices, signal);
};

async function tokenizeInputs(
  embedder: Embedder,
  { inputs }: EmbeddingsRequest,
  signal: AbortSignal,
): Promise<Int32Array[]> {
  const tokenized: Int32Array[] = [];
  for (const { pieces, path } of inputs) {
    const tokens = await tokenizePieces(embedder, pieces, path);
    expectFits(tokens, path, embedder.model);
    tokenized.push(tokens);
    signal.throwIfAborted();
  }
  return tokenized;
}

/** Numbers written between two turns of the loop: about two milliseconds of work. */
const numbersPerTurn = 10_000;

/** Null: enough for one turn of the loop. */
export function* writeReply(
  vectors: readonly Float32Array[],
  form: VectorForm,
  { modelName, promptTokens }: { readonly modelName: string; readonly promptTokens: number },
): Generator<string | null> {
  const everySo = Math.ceil(numbersPerTurn / form.dimensions);
  yield `{"object":"list","model":${JSON.stringify(modelName)},"data":[`;
  for (const [index, vector] of vectors.entries()) {
    const comma = index === 0 ? "" : ",";
    yield `${comma}{"object":"embedding","index":${index},"embedding":${writeVector(vector, form)}}`;
    if (index % everySo === everySo - 1) yield null;
  }
  const usage = JSON.stringify({ prompt_tokens: promptTokens, total_tokens: promptTokens });
  yield `],"usage":${usage}}`;
}
