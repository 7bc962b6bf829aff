// GET /v1/models and /v1/models/{id}: what is served, as OpenAI's and Anthropic's clients both read it (API.md section 13).
import type { ModelInfo } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import type { Handler } from "./handler.ts";
import type { Parts } from "./parts.ts";

export const listModels: Handler = (ctx, parts) => {
  const { name } = servedModel(parts);
  ctx.body = {
    object: "list",
    data: [describeModel(servedModel(parts))],
    has_more: false,
    first_id: name,
    last_id: name,
  };
};

/** The id is the rest of the path, with its slashes raw or escaped. @throws Failure model_not_found */
export const getModel: Handler = (ctx, parts) => {
  const model = servedModel(parts);
  const id = unescapeId(ctx.state.tail);
  if (id !== model.name) {
    const message = `The model '${id.slice(0, 64)}' does not exist; served: '${model.name}'.`;
    throw new Failure("model_not_found", message, { param: "model" });
  }
  ctx.body = describeModel(model);
};

function servedModel({ engine }: Parts): ModelInfo {
  const model = engine()?.model;
  if (!model) throw new Error("the state gate let a call through without an engine");
  return model;
}

function describeModel(model: ModelInfo): object {
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
