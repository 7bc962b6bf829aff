// The program as its users meet it: the real process on the demo model, the official client, a real socket.
import { readdirSync, readFileSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import test from "ava";
import type OpenAI from "openai";
import { APIUserAbortError } from "openai";
import { ask, until } from "../helpers/process.ts";
import { processKey, startCli, startDemo } from "../helpers/server-process.ts";

const questions = [
  "Hello",
  "Who are you?",
  "What can you do?",
  "What is a cat?",
  "What is a dog?",
  "What is the capital of France?",
  "What is the capital of Japan?",
  "Count to ten.",
  "What is 3 plus 4?",
  "Write a short story about a dragon.",
  "Write a poem about the moon.",
  "Repeat: blue river stone",
  "Say hello in Russian.",
  "Show me a rocket emoji.",
  "Describe a fox as JSON.",
  "What is quantum physics?",
];

const userMessage = (content: string) => [{ role: "user" as const, content }];

async function chat(client: OpenAI, content: string): Promise<string> {
  const answer = await client.chat.completions.create({ model: "any", messages: userMessage(content), temperature: 0 });
  return JSON.stringify(answer.choices[0]!.message);
}

/** The message that the deltas of a stream add up to, as chat() gives it. */
async function chatStreamed(client: OpenAI, content: string): Promise<string> {
  const stream = await client.chat.completions.create({
    model: "any",
    messages: userMessage(content),
    temperature: 0,
    stream: true,
  });
  const text = { content: "", reasoning_content: "" };
  for await (const { choices } of stream) {
    const delta = choices[0]!.delta as Partial<typeof text>;
    text.content += delta.content ?? "";
    text.reasoning_content += delta.reasoning_content ?? "";
  }
  return JSON.stringify(text);
}

async function complete(client: OpenAI, prompt: string): Promise<string> {
  const answer = await client.completions.create({ model: "any", prompt, temperature: 0, max_tokens: 30 });
  return answer.choices[0]!.text;
}

async function completeStreamed(client: OpenAI, prompt: string): Promise<string> {
  const options = { model: "any", prompt, temperature: 0, max_tokens: 30, stream: true } as const;
  let text = "";
  for await (const { choices } of await client.completions.create(options)) text += choices[0]!.text;
  return text;
}

test.serial("16 parallel requests over 4 sequences, each answered as it is alone, streamed or not", async (t) => {
  const { client } = await startDemo(t);
  const alone = [];
  for (const question of questions) alone.push(await chat(client, question));
  t.regex(alone[5]!, /"content":"The capital of France is Paris\."/);
  t.deepEqual(await Promise.all(questions.map((question) => chat(client, question))), alone);
  const streamed = await Promise.all(questions.map((question) => chatStreamed(client, question)));
  const parts = (message: string) => {
    const { content, reasoning_content } = JSON.parse(message);
    return { content, reasoning_content };
  };
  t.deepEqual(streamed.map(parts), alone.map(parts));

  const completions = [];
  for (const question of questions) completions.push(await complete(client, question));
  t.deepEqual(await Promise.all(questions.map((question) => complete(client, question))), completions);
  t.deepEqual(await Promise.all(questions.map((question) => completeStreamed(client, question))), completions);
});

test.serial(
  "npm start without a model serves the demo and says so, with the line that serves a real file",
  async (t) => {
    const { process, client, port } = await startDemo(t);
    t.regex(process.output, /DEMO: no model is configured/);
    t.regex(process.output, /MODEL_PATH=\/path\/to\/model\.gguf npm start/);
    const models = await client.models.list();
    t.deepEqual(
      models.data.map((model) => model.id),
      ["tiny-chat"],
    );
    t.is((await client.models.retrieve("tiny-chat")).id, "tiny-chat");
    const health = JSON.parse((await ask(port, "/health")).body);
    t.is(health.status, "ok");
  },
);

test.serial("the first start makes a key, prints it once and keeps it out of the logs", async (t) => {
  const { process, dir, port } = await startCli(t, { GPU: "cpu", AUTH_KEYS_FILE: "new_keys.txt" });
  await process.waitFor(/ info ready /);
  const key = process.output.match(/sk-[\w-]{43}/)![0];
  t.is(process.output.split(key).length, 2);
  const authorization = `Bearer ${key}`;
  t.is((await ask(port, "/v1/models", { headers: { authorization } })).status, 200);
  t.is((await ask(port, "/v1/models")).status, 401);
  const logs = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".log"));
  t.true(logs.length >= 2);
  for (const file of logs) t.false(readFileSync(`${dir}/${file}`, "utf8").includes(key), file);
});

test.serial("SIGTERM during 4 streams: all finish with every byte, then exit code 0", async (t) => {
  const { process, client, health } = await startDemo(t);
  const prompt = "1, 2, 3, 4,";
  const options = { model: "any", prompt, temperature: 0, max_tokens: 200, stream: true } as const;
  const expected = await client.completions.create({ ...options, stream: false });
  const streams = await Promise.all(Array.from({ length: 4 }, () => client.completions.create(options)));
  const reading = streams.map(async (stream) => {
    let text = "";
    let finished: string | null = null;
    for await (const { choices } of stream) {
      text += choices[0]!.text;
      finished = choices[0]!.finish_reason ?? finished;
    }
    return { text, finished };
  });
  process.kill("SIGTERM");
  await until(async () => (await ask(health, "/readyz")).status === 503);
  for (const { text, finished } of await Promise.all(reading)) {
    t.is(text, expected.choices[0]!.text);
    t.is(finished, "length");
  }
  t.deepEqual(await process.ended, { code: 0, signal: null });
});

test.serial("clients that leave in any phase leave no sequence behind", async (t) => {
  const { client, dir, health, port } = await startDemo(t, { MAX_REQUESTS_PER_MINUTE: "100000" });
  const messages = userMessage("Write a poem about the moon. ".repeat(20));
  for (let i = 0; i < 200; i++) {
    const controller = new AbortController();
    const options = { model: "any", messages, stream: true } as const;
    const call = client.chat.completions.create(options, { signal: controller.signal });
    // Most leave after a number of turns of the loop, wherever that is; every fourth while its answer is being written.
    for (let turns = i % 4 === 0 ? 0 : i; turns > 0; turns--) await turn();
    if (i % 4 !== 0) controller.abort();
    try {
      for await (const _chunk of await call) break;
    } catch (error) {
      t.true(error instanceof APIUserAbortError);
    }
  }
  const status = async () => JSON.parse((await ask(health, "/status")).body);
  await until(async () => (await status()).activeRequests + (await status()).queuedRequests === 0);
  const lines = readFileSync(`${dir}/logs/api_access.log`, "utf8").split("\n");
  const leavers = lines.filter((line) => line.includes("client_closed_request") && / queue=\d/.test(line));
  t.true(leavers.length > 0);
  for (const line of leavers) t.regex(line, / in=\d+ cached=\d+ out=\d+ /, "what was computed for nobody is told, too");
  t.is(await chat(client, "Hello"), await chat(client, "Hello"));
  const headers = { authorization: `Bearer ${processKey}` };
  t.is((await ask(port, "/v1/models", { headers })).status, 200);
});

test.serial("a prompt longer than the context is refused with both numbers", async (t) => {
  const { client } = await startDemo(t, { CTX: "128" });
  const error = await t.throwsAsync(chat(client, "The cat is grey. ".repeat(60)));
  const body = (error as unknown as { error: Record<string, unknown> }).error;
  t.is(body.code, "context_length_exceeded");
  t.is(body.n_ctx, 128);
  t.true((body.n_prompt_tokens as number) > 128);
  const outside = await t.throwsAsync(client.completions.create({ model: "any", prompt: [5000] }));
  t.is((outside as unknown as { param: string }).param, "prompt[0]");
});
