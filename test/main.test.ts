// The whole process as its operator sees it: exit codes, ports, signals and what is printed.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { ask, until } from "./helpers/process.ts";
import { RawConnection } from "./helpers/raw.ts";
import { processKey, startCli, startServerProcess } from "./helpers/server-process.ts";

const scripted = fileURLToPath(new URL("./scripted-main.js", import.meta.url));
const withKey = { authorization: `Bearer ${processKey}` };
const body = (fields: object = {}) => JSON.stringify({ messages: [{ role: "user", content: "hi" }], ...fields });

/** A mock server, unless the environment says otherwise. */
const start = (t: ExecutionContext, env: Record<string, string> = { MOCK_BACKEND: "true" }) => startCli(t, env);

/** scripted-main.ts in a mode; `release` lets go on what waits in it. */
async function startScripted(t: ExecutionContext, mode: string, env: Record<string, string> = {}) {
  const dir = mkdtempSync(join(tmpdir(), "main-"));
  const release = join(dir, "release");
  const server = await startServerProcess(t, [scripted, mode, release], env, dir);
  return { ...server, release: () => writeFileSync(release, "") };
}

const post = (port: number, fields: object = {}) =>
  ask(port, "/v1/chat/completions", {
    method: "POST",
    headers: { ...withKey, "content-type": "application/json" },
    body: body(fields),
  });
const statusOf = async (port: number, path: string) => (await ask(port, path)).status;

/** A streamed chat completion whose raw bytes are kept. */
function openStream(port: number, fields: object = {}): RawConnection {
  const text = body({ stream: true, ...fields });
  const connection = new RawConnection(port);
  connection.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${processKey}\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  return connection;
}

test.serial("every configuration problem is told at once, with exit code 2", async (t) => {
  const { process } = await start(t, {
    PORT: "80a",
    AUTH_ENABLED: "maybe",
    CTX: "1_000",
    EXTRA_ARGS: "--frobnicate",
  });
  t.deepEqual(await process.ended, { code: 2, signal: null });
  for (const name of ["PORT", "AUTH_ENABLED", "CTX", "--frobnicate"]) t.regex(process.output, new RegExp(name));
});

test.serial("a model file that cannot be served is exit code 2, before any port is open", async (t) => {
  const { process, dir } = await start(t, { MODEL_PATH: "/nonexistent/model.gguf" });
  t.is((await process.ended).code, 2);
  t.regex(process.output, /\/nonexistent\/model\.gguf: there is no such file/);
  t.notRegex(process.output, /listening/);
  const boot = readFileSync(join(dir, "logs", "_boot", "latest.txt"), "utf8").trim();
  t.regex(readFileSync(boot, "utf8"), /there is no such file/, "the boot log says why");
});

test.serial("an adapter or draft model file that cannot be used is exit code 2 and names its variable", async (t) => {
  for (const name of ["LORA_PATHS", "DRAFT_MODEL_PATH"]) {
    const { process } = await start(t, { [name]: "/nonexistent/file.gguf" });
    t.is((await process.ended).code, 2);
    t.regex(process.output, new RegExp(`error ${name}: /nonexistent/file\\.gguf: `));
    t.notRegex(process.output, /listening/);
  }
});

test.serial("a busy port is exit code 1 and names its variable", async (t) => {
  const taken = createServer();
  await new Promise<void>((done) => taken.listen(0, "127.0.0.1", done));
  t.teardown(() => taken.close());
  const port = String((taken.address() as AddressInfo).port);
  for (const name of ["PORT", "PORT_HEALTH"]) {
    const { process } = await start(t, { MOCK_BACKEND: "true", [name]: port });
    t.is((await process.ended).code, 1);
    t.regex(process.output, new RegExp(`error cannot listen on ${name}=${port} .*already in use`));
  }
});

test.serial("both ports answer, a key is asked for, and SIGTERM ends the process with 0", async (t) => {
  const { process, port, health } = await start(t);
  await process.waitFor(/ info ready /);
  t.deepEqual([await statusOf(port, "/ping"), await statusOf(health, "/readyz")], [200, 200]);
  t.is((await ask(port, "/v1/chat/completions", { method: "POST", body: body() })).status, 401);
  t.is((await post(port)).status, 200);
  process.kill("SIGTERM");
  t.deepEqual(await process.ended, { code: 0, signal: null });
  t.notRegex(process.output, new RegExp(processKey));
});

test.serial("without a model the demo is served, and says so with the line that serves a real one", async (t) => {
  const { process, port } = await start(t, { GPU: "cpu", THREADS: "1", CTX: "1024" });
  await process.waitFor(/ info ready /);
  t.regex(process.output, /warn DEMO: .*\n.*MODEL_PATH=\/path\/to\/model\.gguf npm start/);
  t.is((await post(port, { max_tokens: 4 })).status, 200);
  const streams = Array.from({ length: 4 }, () => openStream(port, { max_tokens: 400 }));
  await Promise.all(streams.map((stream) => stream.until("data: ")));
  process.kill("SIGINT");
  await Promise.all(streams.map((stream) => stream.closed));
  for (const { received } of streams)
    t.regex(received, /"finish_reason":"(stop|length)".*data: \[DONE\]\n\n\r\n0\r\n\r\n$/s);
  t.deepEqual(await process.ended, { code: 0, signal: null });
});

test.serial("while the model loads, probes answer, calls are 503 loading, and both end with the load", async (t) => {
  const { process, port, health, release } = await startScripted(t, "slow");
  await process.waitFor(/listening/);
  const probes = () =>
    Promise.all([statusOf(port, "/ping"), statusOf(health, "/readyz"), statusOf(health, "/startupz")]);
  t.deepEqual(await probes(), [204, 503, 503]);
  await until(async () => JSON.parse((await ask(health, "/status")).body).loadProgress === 0.5);
  const refused = await post(port);
  t.is(refused.status, 503);
  t.is(JSON.parse(refused.body).error.code, "loading");
  t.truthy(refused.headers["retry-after"]);
  t.is(await statusOf(health, "/livez"), 200);
  release();
  await process.waitFor(/ info ready /);
  t.deepEqual(await probes(), [200, 200, 200]);
  t.is((await post(port)).status, 200);
});

test.serial(
  "a signal while loading abandons the load with exit code 0, also when the load does not obey",
  async (t) => {
    for (const mode of ["slow", "deaf"]) {
      const { process } = await startScripted(t, mode);
      await process.waitFor(/listening/);
      process.kill("SIGTERM");
      t.deepEqual(await process.ended, { code: 0, signal: null }, mode);
      t.regex(process.output, /stopped while loading: SIGTERM/);
    }
  },
);

test.serial("a load that fails is exit code 1 and says why", async (t) => {
  const { process } = await startScripted(t, "broken");
  t.is((await process.ended).code, 1);
  t.regex(process.output, /error the server could not start .*the weights do not fit/);
});

test.serial(
  "SIGTERM: running streams finish whole, waiting and new calls are 503 draining at once, exit code 0",
  async (t) => {
    const { process, port, health, release } = await startScripted(t, "gated");
    await process.waitFor(/ info ready /);
    const streams = Array.from({ length: 4 }, () => openStream(port));
    await Promise.all(streams.map((stream) => stream.until("before")));
    const waiting = post(port);
    await until(async () => JSON.parse((await ask(health, "/status")).body).queuedRequests === 1);
    process.kill("SIGTERM");
    for (const refused of [await waiting, await post(port)]) {
      t.is(refused.status, 503);
      t.is(JSON.parse(refused.body).error.code, "draining");
      t.regex(String(refused.headers["retry-after"]), /^\d+$/);
    }
    t.deepEqual([await statusOf(health, "/readyz"), await statusOf(health, "/startupz")], [503, 200]);
    t.is(await statusOf(port, "/ping"), 200);
    release();
    await Promise.all(streams.map((stream) => stream.closed));
    for (const { received } of streams) {
      t.regex(received, /before.* and.* after.*"finish_reason":"stop".*data: \[DONE\]\n\n\r\n0\r\n\r\n$/s);
    }
    t.deepEqual(await process.ended, { code: 0, signal: null });
    t.regex(process.output, /every call was finished cut=0/);
  },
);

test.serial("at the end of DRAIN_TIMEOUT streams get an error event, whole answers 503, exit code 0", async (t) => {
  const { process, port } = await startScripted(t, "gated", { DRAIN_TIMEOUT: "0.2" });
  await process.waitFor(/ info ready /);
  const stream = openStream(port);
  const whole = post(port);
  await stream.until("before");
  await until(async () => JSON.parse((await ask(port, "/health")).body).queue.active === 2);
  process.kill("SIGTERM");
  const refused = await whole;
  t.deepEqual([refused.status, JSON.parse(refused.body).error.code], [503, "draining"]);
  await stream.closed;
  t.regex(stream.received, /before.*data: \{"error":\{[^\n]*"code":"draining"\}\}\n\n\r\n0\r\n\r\n$/s);
  t.notRegex(stream.received, /\[DONE\]/);
  t.deepEqual(await process.ended, { code: 0, signal: null });
  t.regex(process.output, /calls are cut cut=2/);
});

test.serial("a second signal ends the process at once with 128 + its number", async (t) => {
  for (const [second, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const) {
    const { process, port } = await startScripted(t, "gated");
    await process.waitFor(/ info ready /);
    const stream = openStream(port);
    await stream.until("before");
    process.kill(second === "SIGTERM" ? "SIGINT" : "SIGTERM");
    await process.waitFor(/ info draining /);
    process.kill(second);
    t.deepEqual(await process.ended, { code, signal: null });
    await stream.closed.catch((error: NodeJS.ErrnoException) => t.is(error.code, "ECONNRESET"));
  }
});

test.serial(
  "the same signal again, as npm passes Ctrl-C on, does not count as a second one until a moment later",
  async (t) => {
    const { process, port } = await startScripted(t, "gated");
    await process.waitFor(/ info ready /);
    const stream = openStream(port);
    await stream.until("before");
    process.kill("SIGINT");
    await until(() => {
      process.kill("SIGINT");
      return !process.running;
    });
    t.deepEqual(await process.ended, { code: 130, signal: null });
    await stream.closed.catch((error: NodeJS.ErrnoException) => t.is(error.code, "ECONNRESET"));
  },
);

test.serial("SIGHUP does not kill, neither while loading nor when ready", async (t) => {
  const { process, port, release } = await startScripted(t, "slow");
  await process.waitFor(/listening/);
  process.kill("SIGHUP");
  release();
  await process.waitFor(/ info ready /);
  process.kill("SIGHUP");
  t.is((await post(port)).status, 200);
});

test.serial("an engine that is lost ends its requests with generation_failed and the process with 1", async (t) => {
  const { process, port } = await startScripted(t, "losing");
  await process.waitFor(/ info ready /);
  const stream = openStream(port);
  await stream.closed;
  t.regex(stream.received, /"code":"generation_failed"/);
  t.deepEqual(await process.ended, { code: 1, signal: null });
  t.regex(process.output, /error the engine is lost .*three steps in a row failed/);
});

test.serial("a failure that nobody caught is logged and ends the process with 1", async (t) => {
  const { process } = await startScripted(t, "crashing");
  t.deepEqual(await process.ended, { code: 1, signal: null });
  t.regex(process.output, /error a fault of the program.*nobody caught this/);
});

test.serial("IDLE_EXIT_SECONDS drains and ends with 0, and probes do not count as activity", async (t) => {
  const { process, port, health } = await start(t, { MOCK_BACKEND: "true", IDLE_EXIT_SECONDS: "0.5" });
  await process.waitFor(/ info ready /);
  await until(async () => {
    await Promise.allSettled([ask(port, "/health"), ask(health, "/status"), ask(port, "/v1/models")]);
    return !process.running;
  });
  t.deepEqual(await process.ended, { code: 0, signal: null });
  t.regex(process.output, /stopping: idle for/);
});

test.serial(
  "DEBUG_SHELL shows the environment without secrets, opens nothing, and SIGTERM ends it with 0",
  async (t) => {
    const env = { DEBUG_SHELL: "true", MODEL_NAME: "some.gguf", REDIS_URL: "redis://u:secret1@h", MY_TOKEN: "secret2" };
    const { process, port, health } = await start(t, env);
    await process.waitFor(/info REDIS_URL=\*\*\*/);
    t.regex(process.output, /DEBUG_SHELL=true: nothing is served.* instanceId=test hostname=/);
    t.regex(process.output, /MODEL_NAME=some\.gguf\n.*MY_TOKEN=\*\*\*\n/s);
    t.notRegex(process.output, /secret\d/);
    for (const closed of [port, health]) await t.throwsAsync(ask(closed, "/"), { code: "ECONNREFUSED" });
    process.kill("SIGTERM");
    t.deepEqual(await process.ended, { code: 0, signal: null });
  },
);
