// What every route of the table takes and answers, for the OpenAPI document. A test holds this list against the table.
import { messagesSchema } from "../../anthropic/messages-request.ts";
import { schema as chatSchema } from "../../openai/chat-request.ts";
import { schema as completionSchema } from "../../openai/completion-request.ts";
import { schema as embeddingsSchema } from "../../openai/embeddings-request.ts";
import { infillSchema } from "../../openai/infill-request.ts";
import { schema as rerankSchema } from "../../openai/rerank-request.ts";
import { responsesSchema } from "../../openai/responses-request.ts";
import { detokenizeSchema, tokenizeSchema } from "../../openai/token-requests.ts";
import { message, messageEvent, tokenCount } from "./anthropic-answers.ts";
import type { Operation } from "./document.ts";
import {
  content,
  health,
  infill,
  infillEvent,
  metrics,
  openapi,
  prompt,
  props,
  reload,
  slots,
  tokens,
} from "./native-answers.ts";
import {
  chatChunk,
  chatCompletion,
  embeddings,
  inputTokens,
  model,
  models,
  ranking,
  textCompletion,
  textCompletionChunk,
} from "./openai-answers.ts";
import { response, responseEvent } from "./responses-answers.ts";

type Rest = Omit<Operation, "method" | "path" | "class" | "summary">;

const post = (path: string, summary: string, rest: Rest): Operation => {
  return { method: "POST", path, class: "key", summary, ...rest };
};
const get = (path: string, summary: string, answer: Operation["answer"]): Operation => {
  return { method: "GET", path, class: "key", summary, ...(answer && { answer }) };
};
const open = (path: string, summary: string, rest: Rest = {}): Operation => {
  return { method: "GET", path, class: "public", summary, ...rest };
};

const generating: readonly Operation[] = [
  post("/v1/chat/completions", "Continues a conversation.", {
    request: chatSchema,
    answer: chatCompletion,
    event: chatChunk,
  }),
  post("/v1/completions", "Continues texts.", {
    request: completionSchema,
    answer: textCompletion,
    event: textCompletionChunk,
  }),
  post("/infill", "Fills in the middle between two texts.", {
    request: infillSchema,
    answer: infill,
    event: infillEvent,
  }),
  post("/v1/responses", "Continues a conversation and keeps nothing.", {
    request: responsesSchema,
    answer: response,
    event: responseEvent,
  }),
  post("/v1/messages", "Continues a conversation, as Anthropic's clients want it.", {
    request: messagesSchema.required({ max_tokens: true }),
    answer: message,
    event: messageEvent,
    errors: "anthropic",
  }),
];

const ranked: Rest = { request: rerankSchema, answer: ranking };

const measuring: readonly Operation[] = [
  post("/v1/embeddings", "Turns texts into vectors.", { request: embeddingsSchema, answer: embeddings }),
  post("/v1/rerank", "Scores documents against a query.", ranked),
  post("/rerank", "Scores documents against a query.", ranked),
];

const counting: readonly Operation[] = [
  post("/v1/chat/completions/input_tokens", "Counts the tokens of a conversation.", {
    request: chatSchema,
    answer: inputTokens,
  }),
  post("/v1/messages/count_tokens", "Counts the tokens of a conversation, as Anthropic's clients want it.", {
    request: messagesSchema,
    answer: tokenCount,
    errors: "anthropic",
  }),
  post("/apply-template", "Gives a conversation as the chat template writes it.", {
    request: chatSchema,
    answer: prompt,
  }),
  post("/tokenize", "Gives the tokens of a text.", { request: tokenizeSchema, answer: tokens }),
  post("/detokenize", "Gives the text of tokens.", { request: detokenizeSchema, answer: content }),
];

const telling: readonly Operation[] = [
  get("/v1/models", "Lists what is served.", models),
  get("/v1/models/{id}", "Describes one model.", model),
  get("/props", "The server's properties and defaults.", props),
  get("/openapi.json", "This document.", openapi),
];

const operating: readonly Operation[] = [
  open("/", "Tells that somebody is there."),
  open("/api/hello", "Tells that somebody is there."),
  open("/ping", "200 once the model is there, 204 while it loads."),
  open("/health", "The server's state.", { answer: health }),
  open("/metrics", "Counters and gauges.", { answer: metrics, text: "text/plain" }),
  { ...post("/reload", "Reads the key file again.", { answer: reload }), class: "admin" },
  { ...get("/slots", "What each sequence is doing.", slots), class: "admin" },
];

export const operations: readonly Operation[] = [...generating, ...measuring, ...counting, ...telling, ...operating];
