// POST /v1/rerank and /rerank.
import { readJsonObject } from "../http/body.ts";
import { unsupportedModel } from "../openai/refusals.ts";
import { parseRerankRequest, rerankReply, sigmoid } from "../openai/rerank-request.ts";
import { servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import { expectFits, runVectors, sumTokens, type VectorWork } from "./vectors.ts";

export const rerank: Handler = async (ctx, parts) => {
  const { reranker } = servingEngine(parts);
  const body = await readJsonObject(ctx, parts.config);
  if (!reranker) throw unsupportedModel("rerank documents");
  const modelName = reranker.model.name;
  const request = parseRerankRequest(body, { config: parts.config, modelName });
  const { query, documents, form, ignored } = request;
  const pairs = await reranker.tokenizePairs(query, documents);
  const field = form === "tei" ? "texts" : "documents";
  for (const [index, pair] of pairs.entries()) expectFits(pair, `${field}[${index}]`, reranker.model);
  const promptTokens = sumTokens(pairs);
  const run: VectorWork<number[]>["run"] = (signal, onTokens) => reranker.rank(pairs, signal, onTokens);
  const raw = await runVectors(ctx, parts, { promptTokens, ignored, run });
  const scores = request.normalize && !reranker.probabilities ? raw.map(sigmoid) : raw;
  ctx.body = rerankReply({ request, modelName, scores, promptTokens });
};
