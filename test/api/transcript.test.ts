// LOG_PROMPTS: prompts and answers in the server log when it is on, and not a word of them anywhere when it is off.
import test, { type ExecutionContext } from "ava";
import { createMockEngine, type MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { formatAccessLine } from "../../src/telemetry/access-line.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { gate } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { startServer, testConfig, testKey, withKey } from "../helpers/server.ts";

const speak = (): Iterable<MockStep> => [{ text: "spo" }, { text: "ken" }];

async function start(t: ExecutionContext, logPrompts: boolean, script = speak) {
  const engine = createMockEngine({ script });
  const { log, lines, text } = capturedLog();
  const accessLines: string[] = [];
  const accessLog = {
    write: (record: Parameters<typeof formatAccessLine>[1]) => void accessLines.push(formatAccessLine("json", record)),
  };
  const config = testConfig({ LOG_PROMPTS: String(logPrompts), LOG_LEVEL: "debug" });
  const server = await startServer({ engine: () => engine, config, log, accessLog });
  t.teardown(async () => {
    await server.close();
    await engine.dispose();
  });
  const post = (path: string, fields: object, init: RequestInit = {}) =>
    fetch(`${server.url}${path}`, {
      method: "POST",
      headers: { ...withKey, "x-request-id": "mine" },
      body: JSON.stringify(fields),
      ...init,
    });
  const noted = () => lines().filter(({ msg }) => String(msg).startsWith("LOG_PROMPTS"));
  return { post, noted, text, accessLines, engine };
}

const messages = [{ role: "user", content: "whispered" }];
/** Every route that generates, and what it is asked. */
const calls: [string, object][] = [
  ["/v1/chat/completions", { messages }],
  ["/v1/chat/completions", { messages, stream: true }],
  ["/v1/completions", { prompt: "whispered" }],
  ["/v1/completions", { prompt: "whispered", stream: true }],
  ["/v1/messages", { model: "any", max_tokens: 50, messages }],
  ["/v1/responses", { input: "whispered" }],
];

test("every generating route writes down who asked what, and what was answered", async (t) => {
  for (const [path, fields] of calls) {
    const { post, noted, accessLines, text } = await start(t, true);
    const answer = await post(path, fields);
    t.is(answer.status, 200, path);
    await answer.text();
    await until(() => noted().length === 2 && accessLines.length === 1);
    const [asked, answered] = noted();
    t.like(asked, { level: "info", requestId: "mine", keyId: "test" });
    t.regex(String(asked?.prompt), /whispered/);
    t.like(answered, { requestId: "mine", keyId: "test", finish: "stop" });
    t.deepEqual(answered?.answer, [{ kind: "content", text: "spoken" }]);
    t.notRegex(accessLines.join(""), /whispered|spoken/);
    t.false(text().includes(testKey));
  }
});

test("off, which it is by default, no log has a word of either, at any level", async (t) => {
  t.false(testConfig().logPrompts);
  for (const [path, fields] of calls) {
    const { post, text, accessLines } = await start(t, false);
    t.regex(await (await post(path, fields)).text(), /spo/);
    await until(() => accessLines.length === 1);
    t.notRegex(text() + accessLines.join(""), /whispered|"spo"|"ken"|spoken/);
  }
  const broken = await start(t, false, () => [{ text: "spoken" }, { fail: new Failure("generation_failed", "No.") }]);
  await (await broken.post("/v1/chat/completions", { messages })).text();
  await (await broken.post("/v1/chat/completions", { messages: [{ role: "user", content: ["whispered"] }] })).text();
  await until(() => broken.accessLines.length === 2);
  t.notRegex(broken.text() + broken.accessLines.join(""), /whispered|spoken/);
});

test("several answers to one prompt: the prompt once, each answer once", async (t) => {
  const { post, noted } = await start(t, true);
  await (await post("/v1/completions", { prompt: ["one", "two"], n: 2 })).text();
  await until(() => noted().length === 6);
  t.is(noted().filter(({ prompt }) => prompt !== undefined).length, 2);
  t.is(noted().filter(({ answer }) => answer !== undefined).length, 4);
});

test("an answer that its client does not wait for, or that fails, is written down as far as it came", async (t) => {
  const door = gate();
  const { post, noted, engine } = await start(t, true, () => [{ text: "spoken" }, { wait: door.promise }]);
  const leaver = new AbortController();
  const leaving = post("/v1/completions", { prompt: "whispered" }, { signal: leaver.signal });
  await until(() => engine.slots().some(({ decodedTokens }) => decodedTokens === 1));
  leaver.abort();
  await t.throwsAsync(leaving, { any: true });
  await until(() => noted().length === 2);
  t.like(noted()[1], { finish: null });
  const failing = await start(t, true, () => [{ text: "spoken" }, { fail: new Failure("generation_failed", "No.") }]);
  t.is((await failing.post("/v1/completions", { prompt: "whispered" })).status, 500);
  t.like(failing.noted()[1], { finish: null, answer: [{ kind: "content", text: "spoken" }] });
  await until(() => failing.engine.running === 0);
});
