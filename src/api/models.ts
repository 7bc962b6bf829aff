// GET /v1/models and /v1/models/{id}: what is served, as OpenAI's and Anthropic's clients both read it (API.md section 13).
import type { VectorModelInfo } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import { servingEngine } from "./generate.ts";
import type { Handler } from "./handler.ts";
import type { Parts } from "./parts.ts";

/** What is told of any model, whatever it is for. */
type ListedModel = VectorModelInfo;

export const listModels: Handler = (ctx, parts) => {
  const models = servedModels(parts);
  ctx.body = {
    object: "list",
    data: models.map(describeModel),
    has_more: false,
    first_id: models[0]!.name,
    last_id: models.at(-1)!.name,
  };
};

/** The id is the rest of the path, with its slashes raw or escaped. @throws Failure model_not_found */
export const getModel: Handler = (ctx, parts) => {
  const models = servedModels(parts);
  const id = unescapeId(ctx.state.tail);
  const model = models.find(({ name }) => name === id);
  if (!model) {
    const served = models.map(({ name }) => `'${name}'`).join(", ");
    const message = `The model '${id.slice(0, 64)}' does not exist; served: ${served}.`;
    throw new Failure("model_not_found", message, { param: "model" });
  }
  ctx.body = describeModel(model);
};

/** The main model first, then those for embeddings and reranking; what serves under one name is one model. */
function servedModels(parts: Parts): ListedModel[] {
  const { model, embedder, reranker } = servingEngine(parts);
  const models: ListedModel[] = [model];
  for (const further of [embedder?.model, reranker?.model]) {
    if (further && !models.some(({ name }) => name === further.name)) models.push(further);
  }
  return models;
}

function describeModel(model: ListedModel): object {
  return {
    id: model.name,
    object: "model",
    type: "model",
    created: model.created,
    created_at: new Date(model.created * 1000).toISOString(),
    owned_by: "local",
    display_name: model.name,
    max_input_tokens: model.contextTokens,
    max_model_len: model.contextTokens,
    meta: {
      vocab_type: model.vocabType,
      n_vocab: model.vocabSize,
      n_ctx: model.contextTokens,
      n_ctx_train: model.trainContextTokens,
      n_embd: model.embeddingLength,
      n_params: model.parameters,
      size: model.sizeBytes,
      ftype: model.ftype,
    },
  };
}

/** An id with a broken escape is meant as it stands. */
function unescapeId(sent: string): string {
  try {
    return decodeURIComponent(sent);
  } catch (error) {
    if (error instanceof URIError) return sent;
    throw error;
  }
}
