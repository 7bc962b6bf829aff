// The body of POST /v1/rerank and /rerank, in Jina's form or in TEI's -> a valid request, or the Failure that names the field; and
// the answer in the same form (API.md section 10).
import { z } from "zod";
import { integer } from "./fields.ts";
import { ignoredFields } from "./ignored-parameters.ts";
import { invalidValue, missing } from "./refusals.ts";
import { checkModel, type RequestLimits } from "./sampling-fields.ts";
import { type JsonObject, validate, withoutNulls } from "./validate.ts";

export type RerankRequest = {
  readonly form: "jina" | "tei";
  readonly query: string;
  readonly documents: readonly string[];
  /** Scores told, the best ones. */
  readonly topN: number;
  readonly returnText: boolean;
  /** Scores as probabilities instead of logits. */
  readonly normalize: boolean;
  /** Names of fields without effect here. */
  readonly ignored: readonly string[];
};

const maxDocuments = 1024;

export const schema = z.object({
  query: z.string(),
  documents: z
    .array(z.union([z.string(), z.object({ text: z.string() })]))
    .min(1)
    .max(maxDocuments)
    .optional(),
  texts: z.array(z.string()).min(1).max(maxDocuments).optional(),
  model: z.string().max(256).optional(),
  top_n: integer(1, Number.MAX_SAFE_INTEGER).optional(),
  return_documents: z.boolean().optional(),
  return_text: z.boolean().optional(),
  normalize: z.boolean().optional(),
  raw_scores: z.boolean().optional(),
});

const known: ReadonlySet<string> = new Set(Object.keys(schema.shape));

/** @throws Failure 400, or 404 model_not_found */
export function parseRerankRequest(
  json: JsonObject,
  limits: Pick<RequestLimits, "config" | "modelName">,
): RerankRequest {
  const body = withoutNulls(json);
  const fields = validate(schema, body);
  checkModel(fields.model, limits);
  const { query, documents, texts, normalize, raw_scores } = fields;
  if (documents && texts) throw invalidValue("texts", "only one of 'documents' and 'texts' is allowed");
  const listed = documents ?? texts;
  if (!listed) throw missing("documents");
  if (normalize !== undefined && normalize === raw_scores) {
    throw invalidValue("raw_scores", "it contradicts 'normalize'");
  }
  return {
    form: texts ? "tei" : "jina",
    query,
    documents: listed.map((document) => (typeof document === "string" ? document : document.text)),
    topN: Math.min(fields.top_n ?? listed.length, listed.length),
    returnText: (texts ? fields.return_text : fields.return_documents) ?? false,
    normalize: normalize ?? raw_scores === false,
    ignored: ignoredFields(body, known),
  };
}

export type Ranking = {
  readonly request: RerankRequest;
  readonly modelName: string;
  /** By document. */
  readonly scores: readonly number[];
  readonly promptTokens: number;
};

/** The body of the answer: the best first, equal ones by index. */
export function rerankReply({ request, modelName, scores, promptTokens }: Ranking): object {
  const { form, documents, topN, returnText } = request;
  const best = scores
    .map((score, index) => ({ index, score }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, topN);
  if (form === "tei") {
    return best.map(({ index, score }) => ({ index, score, ...(returnText && { text: documents[index] }) }));
  }
  const results = best.map(({ index, score }) => ({
    index,
    relevance_score: score,
    ...(returnText && { document: { text: documents[index] } }),
  }));
  const usage = { prompt_tokens: promptTokens, total_tokens: promptTokens };
  return { object: "list", model: modelName, results, usage };
}

/** A logit as the probability it stands for. */
export function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
