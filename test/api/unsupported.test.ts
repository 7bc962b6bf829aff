// What is known but cannot be served here (API.md section 2, class 3): each of it is 400 on every generating route and named.
import test from "ava";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf } from "../helpers/server.ts";

const user = { role: "user", content: "Hello" };

/** A valid body of each route. */
const bodies: Readonly<Record<string, object>> = {
  "/v1/chat/completions": { messages: [user] },
  "/v1/completions": { prompt: "Hello" },
  "/v1/responses": { input: "Hello" },
  "/v1/messages": { messages: [user], max_tokens: 5 },
};

const everywhere: Readonly<Record<string, unknown>> = {
  store: true,
  previous_response_id: "resp_1",
  conversation: "conv_1",
  modalities: ["text", "audio"],
  audio: { voice: "alloy", format: "wav" },
  truncation: "auto",
  web_search_options: {},
  moderation: { model: "m" },
  functions: [{ name: "f" }],
  function_call: { name: "f" },
};

const fieldsOf: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "/v1/chat/completions": everywhere,
  "/v1/completions": everywhere,
  "/v1/responses": { ...everywhere, prompt: { id: "pmpt_1" }, background: true },
  "/v1/messages": everywhere,
};

for (const [path, fields] of Object.entries(fieldsOf)) {
  test(`${path}: fields that cannot be served are refused by name, and harmless values of them pass`, async (t) => {
    const { engine, post } = await startMockApi(t);
    for (const [name, value] of Object.entries(fields)) {
      const answer = await post(path, { ...bodies[path], [name]: value });
      t.is(answer.status, 400, name);
      const { code, param, message } = (await jsonOf(answer)).error;
      t.deepEqual([code, param], ["unsupported_parameter", name]);
      t.true(message.includes(`'${name}' is not supported by this server`), message);
      t.is((await post(path, { ...bodies[path], [name]: null })).status, 200, `${name}: null`);
    }
    const harmless = {
      store: false,
      modalities: ["text"],
      truncation: "disabled",
    };
    t.is((await post(path, { ...bodies[path], ...harmless })).status, 200);
    const old = { functions: [], function_call: "none" };
    for (const [name, value] of Object.entries(old)) {
      const answer = await post(path, { ...bodies[path], [name]: value });
      t.like(
        await jsonOf(answer),
        { error: { code: "unsupported_parameter", param: name } },
        "they have no value that asks for nothing",
      );
    }
    t.is(engine.running, 0);
  });
}

const text = { type: "text", text: "What is this?" };
const url = "https://example.invalid/x.png";

/** Parts that are no text, at the end of a user message. */
const parts: readonly [path: string, part: object, medium: RegExp][] = [
  ["/v1/chat/completions", { type: "image_url", image_url: { url } }, /image input/],
  ["/v1/chat/completions", { type: "input_audio", input_audio: { data: "", format: "wav" } }, /audio input/],
  ["/v1/chat/completions", { type: "video_url", video_url: { url } }, /video input/],
  ["/v1/chat/completions", { type: "file", file: { file_id: "f" } }, /file input/],
  ["/v1/responses", { type: "input_image", image_url: url }, /image input/],
  ["/v1/responses", { type: "input_file", file_id: "f" }, /file input/],
  ["/v1/messages", { type: "image", source: { type: "url", url } }, /image input/],
  ["/v1/messages", { type: "document", source: { type: "url", url } }, /document input/],
];

test("what has a successor says which", async (t) => {
  const { post } = await startMockApi(t);
  const told = async (fields: object) =>
    (await jsonOf(await post("/v1/completions", { prompt: "x", ...fields }))).error;
  const message = "'functions' is not supported by this server: use 'tools'.";
  t.like(await told({ functions: [{ name: "f" }] }), { message });
  t.regex((await told({ function_call: "auto" })).message, /use 'tools'/);
});

test("images, audio, video and files are refused with their place, and nothing is fetched", async (t) => {
  const { post } = await startMockApi(t);
  for (const [path, part, medium] of parts) {
    const responses = path === "/v1/responses";
    const content = [responses ? { ...text, type: "input_text" } : text, part];
    const list = responses ? "input" : "messages";
    const answer = await post(path, { ...bodies[path], [list]: [{ role: "user", content }] });
    t.is(answer.status, 400);
    const { code, param, message } = (await jsonOf(answer)).error;
    t.deepEqual([code, param], ["unsupported_value", `${list}[0].content[1]`], path);
    t.regex(message, medium);
  }
});
