// The OpenAPI document: every route is in it, it is sound in itself, and what the server really answers is valid against it.

import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import test, { type ExecutionContext } from "ava";
import { operations } from "../../src/api/openapi/operations.ts";
import { routes } from "../../src/api/routes.ts";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf, withKey } from "../helpers/server.ts";

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
type Json = any;

/** As OpenAPI writes a path of the route table. */
const written = (path: string) => path.replace(/\*$/, "{id}");

const ajv = formats.default(new Ajv2020({ strict: false, allErrors: true }));

/** Members of any object in it, with their paths. */
function* walk(value: Json, path = "#"): Generator<[path: string, name: string, value: Json]> {
  if (typeof value !== "object" || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    yield [path, name, member];
    yield* walk(member, `${path}/${name}`);
  }
}

async function fetchDocument(t: ExecutionContext, url?: string): Promise<Json> {
  const at = url ?? (await startMockApi(t)).server.url;
  const answer = await fetch(`${at}/openapi.json`, { headers: withKey });
  t.is(answer.status, 200);
  t.is(answer.headers.get("content-type"), "application/json; charset=utf-8");
  return answer.json();
}

test("every route of the table is in it with its class, and nothing else", (t) => {
  const describe = ({ method, path, class: of }: { method: string; path: string; class: string }) =>
    `${method} ${written(path)} ${of}`;
  t.deepEqual(operations.map(describe).sort(), routes.map(describe).sort());
});

test("what needs a key says so, and operations have names of their own", async (t) => {
  const { paths } = await fetchDocument(t);
  const names = new Set<string>();
  for (const route of routes) {
    const operation = paths[written(route.path)][route.method.toLowerCase()];
    t.is(operation.security === undefined, route.class === "public", route.path);
    t.regex(operation.operationId, /^\w+$/);
    names.add(operation.operationId);
  }
  t.is(names.size, routes.length);
});

test("it is sound: an OpenAPI 3.1 document whose references resolve and whose schemas are JSON Schema 2020-12", async (t) => {
  const document = await fetchDocument(t);
  t.is(document.openapi, "3.1.0");
  t.like(document.info, { title: "llama-gguf-inference" });
  for (const [path, name, value] of walk(document)) {
    if (name === "$ref" && typeof value === "string") {
      const target = value
        .slice(2)
        .split("/")
        .reduce((at, step) => at?.[step], document);
      t.truthy(target, `${path}: ${value}`);
    }
    if (name === "schema" || name === "x-itemSchema") t.true(ajv.validateSchema(withComponents(document, value)), path);
  }
});

test("the ranges of the validators are in it", async (t) => {
  const { paths } = await fetchDocument(t);
  const { schema } = paths["/v1/chat/completions"].post.requestBody.content["application/json"];
  t.deepEqual(schema.properties.temperature, {
    anyOf: [{ type: "number", minimum: 0, maximum: 2 }, { type: "null" }],
  });
  t.like(schema.properties.messages, { type: "array", minItems: 1, maxItems: 4096 });
  t.deepEqual(schema.required, ["messages"]);
  t.like(schema.properties.metadata.anyOf[0], { type: "object", maxProperties: 16 });
});

/** References to components keep working in a schema that stands alone. */
function withComponents({ components }: Json, schema: Json): Json {
  return { ...schema, components };
}

/** An event is one of a streamed answer. */
type What = "request" | "answer" | "event" | "failure";

/** Holds what was sent and answered against the document. */
class Judge {
  readonly #document: Json;
  readonly #compiled = new Map<string, ValidateFunction>();

  constructor(document: Json) {
    this.#document = document;
  }

  /** @returns what is wrong, or "" */
  problems(method: string, path: string, what: What, value: Json): string {
    const key = `${method} ${path} ${what}`;
    const validate = this.#compiled.get(key) ?? ajv.compile(this.#schema(method, path, what));
    this.#compiled.set(key, validate);
    return validate(value) ? "" : `${key}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`;
  }

  #schema(method: string, path: string, what: What): Json {
    const { requestBody, responses } = this.#document.paths[path][method.toLowerCase()];
    if (what === "request") return withComponents(this.#document, requestBody.content["application/json"].schema);
    const answer = responses[what === "failure" ? "default" : "200"].content;
    const found = what === "event" ? answer["text/event-stream"]["x-itemSchema"] : answer["application/json"].schema;
    return withComponents(this.#document, found);
  }
}

const script = (): MockStep[] => [
  { text: "Hm", kind: "reasoning" },
  { text: "Hi" },
  { text: " you" },
  { call: 0, name: "f", arguments: "" },
  { call: 0, arguments: '{"a":1}' },
  { call: 1, name: "g", arguments: "{}" },
];

const text = (): MockStep[] => [{ text: "Hi" }, { text: " you" }];

const messages = [{ role: "user", content: "Hello" }];

/** Bodies of the generating routes, each of which may also be streamed. */
const generating: readonly [path: string, body: object][] = [
  ["/v1/chat/completions", { messages, logprobs: true, top_logprobs: 2 }],
  [
    "/v1/chat/completions",
    { messages, n: 2, n_probs: 2, timings_per_token: true, verbose: true, return_progress: true },
  ],
  ["/v1/responses", { input: "Hello", instructions: "Be brief.", metadata: { a: "b" } }],
  [
    "/v1/responses",
    { input: "Hello", max_output_tokens: 2, timings_per_token: true, verbose: true, return_progress: true },
  ],
  ["/v1/responses", { input: "Hello", include: ["message.output_text.logprobs"], top_logprobs: 2 }],
  ["/v1/messages", { messages, max_tokens: 100 }],
];

/** Of the route that knows text only. */
const completing: typeof generating = [
  ["/v1/completions", { prompt: ["a", "b"] }],
  ["/v1/completions", { prompt: "a", n: 2, logprobs: 2, timings_per_token: true }],
  ["/v1/completions", { prompt: ["ab", [5, 6]], echo: true, logprobs: 0, return_progress: true, verbose: true }],
  ["/v1/completions", { prompt: "a", suffix: "b", n_probs: 1 }],
  ["/infill", { input_prefix: "a", input_suffix: "b", n_probs: 2, timings_per_token: true, return_progress: true }],
];

const asking: readonly [path: string, body: object][] = [
  ["/v1/messages/count_tokens", { messages }],
  ["/v1/chat/completions/input_tokens", { messages }],
  ["/apply-template", { messages }],
  ["/v1/embeddings", { input: "a" }],
  ["/v1/embeddings", { input: [[5, 6], "b"], encoding_format: "base64", dimensions: 2 }],
  ["/v1/rerank", { query: "q", documents: ["a", { text: "b" }], return_documents: true }],
  ["/rerank", { query: "q", texts: ["a", "b"], return_text: true }],
  ["/tokenize", { content: ["a", 5], with_pieces: true }],
  ["/tokenize", { content: "é" }],
  ["/detokenize", { tokens: [5, 6] }],
];

/** Serves what these bodies ask for, plain, and as a stream too where it can be one. */
async function judgeAnswers(
  t: ExecutionContext,
  script: () => MockStep[],
  requests: readonly [path: string, body: object][],
  streams: boolean,
): Promise<void> {
  const { server, post } = await startMockApi(t, { script, fim: true });
  const judge = new Judge(await fetchDocument(t, server.url));
  for (const [path, body] of requests) {
    const answer = await post(path, body);
    const json = await jsonOf(answer);
    t.is(answer.status, 200, `${path}: ${JSON.stringify(json)}`);
    t.is(judge.problems("POST", path, "request", body), "");
    t.is(judge.problems("POST", path, "answer", json), "");
    if (!streams) continue;
    const stream = await post(path, { ...body, stream: true });
    t.is(stream.status, 200, path);
    for (const event of events(await stream.text())) t.is(judge.problems("POST", path, "event", event), "");
  }
}

test("requests of the generating routes, their answers and all events of their streams are valid against it", (t) =>
  judgeAnswers(t, script, generating, true));

test("completions too", (t) => judgeAnswers(t, text, completing, true));

test("and so are the routes that generate nothing", (t) => judgeAnswers(t, text, asking, false));

test("a failure in a stream is valid against it too", async (t) => {
  const failing = () => [{ text: "a" }, { fail: new Failure("generation_failed", "It broke.") }];
  const { server, post } = await startMockApi(t, { script: failing });
  const judge = new Judge(await fetchDocument(t, server.url));
  for (const [path, body] of generating) {
    const sent = events(await (await post(path, { ...body, stream: true })).text());
    t.true(JSON.stringify(sent).includes("It broke."), path);
    for (const event of sent) t.is(judge.problems("POST", path, "event", event), "");
  }
});

test("refusals are valid against it", async (t) => {
  const { server, post } = await startMockApi(t);
  const judge = new Judge(await fetchDocument(t, server.url));
  for (const { method, path } of routes.filter(({ class: of }) => of === "key")) {
    const at = `${server.url}${path.replace("*", "x")}`;
    const answer = await fetch(at, { method, headers: { Authorization: "Bearer wrong" } });
    t.is(answer.status, 401);
    t.is(judge.problems(method, written(path), "failure", await answer.json()), "");
    if (method === "POST") {
      const refused = await post(path, { messages: 5, prompt: {}, input: 5, content: 5, tokens: 5, input_prefix: 5 });
      t.is(refused.status, 400, path);
      t.is(judge.problems(method, path, "failure", await refused.json()), "");
    }
  }
});

test("what is only looked at is valid against it", async (t) => {
  const { server } = await startMockApi(t);
  const document = await fetchDocument(t, server.url);
  const judge = new Judge(document);
  for (const { method, path } of routes.filter(({ method }) => method === "GET")) {
    const answer = await fetch(`${server.url}${path.replace("*", "served")}`, { headers: withKey });
    t.is(answer.status, 200, path);
    const { content } = document.paths[written(path)].get.responses["200"];
    if (content === undefined) t.is(await answer.text(), "");
    else t.is(judge.problems(method, written(path), "answer", await answer.json()), "");
  }
});

/** The JSON of every event but the end mark. */
function events(text: string): Json[] {
  return [...text.matchAll(/^data: (.*)$/gm)].flatMap(([, data]) => (data === "[DONE]" ? [] : [JSON.parse(data!)]));
}
