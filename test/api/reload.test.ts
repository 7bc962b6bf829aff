// POST /reload over HTTP: who may, in which state, what is answered, and what a reload does to the calls of that moment.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Handler } from "../../src/api/handler.ts";
import { type Route, routes } from "../../src/api/routes.ts";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { changeKeyFile } from "../../src/keys/key-file-writer.ts";
import { loadKeyRing } from "../../src/keys/load.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { gate } from "../helpers/mock-api.ts";
import { head, RawConnection } from "../helpers/raw.ts";
import { jsonOf, startServer, testConfig } from "../helpers/server.ts";

const root = "sk-root-0123456789abcdef";
const user = "sk-user-0123456789abcdef";
const withKey = (key: string) => ({ authorization: `Bearer ${key}` });

/** A server whose keys come from a file that the test can change; closed when the test ends. */
async function start(
  t: ExecutionContext,
  text: string,
  {
    env = {},
    table,
    ...parts
  }: { env?: Record<string, string>; table?: readonly Route[] } & Parameters<typeof startServer>[0] = {},
) {
  const folder = mkdtempSync(join(tmpdir(), "reload-api-"));
  const path = join(folder, "keys");
  const write = (content: string) => changeKeyFile(path, () => Buffer.from(content), { warn: t.fail });
  await write(text);
  const config = testConfig({ AUTH_KEYS_FILE: path, ...env });
  const { log, lines, text: logText } = capturedLog();
  const keys = loadKeyRing(config, log, Date.now, () => t.fail());
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const server = await startServer({ config, log, keys, heartbeat, ...parts }, table);
  t.teardown(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const reload = (key: string, init: RequestInit = {}) =>
    fetch(`${server.url}/reload`, { method: "POST", headers: withKey(key), ...init });
  return { folder, path, write, reload, server, heartbeat, lines, logText };
}

test("any valid key may reload when ADMIN_KEY_IDS is empty; the answer is the number of keys", async (t) => {
  const { reload, write, lines, logText } = await start(t, `user:${user}\n`);
  await write(`user:${user}\nroot:${root}\n`);
  t.is((await reload(root)).status, 401, "not yet");
  const answer = await reload(user, { headers: { ...withKey(user), "x-request-id": "id-1" } });
  t.is(answer.status, 200);
  t.is(await answer.text(), '{"status":"ok","keys_loaded":2}');
  t.is((await reload(root)).status, 200);
  t.true(lines().some((line) => line.requestId === "id-1" && line.keyId === "user" && line.keys === 2));
  t.false(logText().includes(user) || logText().includes(root));
});

test("with ADMIN_KEY_IDS only those ids may: 403 admin_required for others, 401 without a key, 405 for another method", async (t) => {
  const { reload, server, write } = await start(t, `root:${root}\nuser:${user}\n`, { env: { ADMIN_KEY_IDS: "root" } });
  await write(`root:${root}\n`);
  const refused = await reload(user);
  t.is(refused.status, 403);
  const { error } = await jsonOf(refused);
  t.like(error, { type: "permission_error", param: null, code: "admin_required" });
  t.is((await fetch(`${server.url}/reload`, { method: "POST" })).status, 401);
  t.is((await fetch(`${server.url}/reload`, { headers: withKey(user) })).status, 405);
  t.is((await reload(user)).status, 403, "its key is still there: nothing was reloaded");
  t.is((await reload(root)).status, 200);
  t.is((await reload(user)).status, 401);
});

test("it is served in every state", async (t) => {
  const { reload, heartbeat } = await start(t, `root:${root}\n`);
  for (const state of ["loading", "ready", "draining", "error"] as const) {
    heartbeat.state = state;
    t.is((await reload(root)).status, 200, state);
  }
});

test("its body is discarded, whatever it is", async (t) => {
  const { reload, server } = await start(t, `root:${root}\n`);
  t.is((await reload(root, { body: "{ not json" })).status, 200);
  t.is((await reload(root, { body: Buffer.alloc(50_000_000) })).status, 200);
  t.is((await reload(root, { body: "x", headers: { ...withKey(root), "content-encoding": "gzip" } })).status, 200);
  const connection = new RawConnection(server.port);
  connection.write(
    head("POST /reload HTTP/1.1", `x-api-key: ${root}`, "Content-Length: 100000", "Expect: 100-continue"),
  );
  await connection.closed;
  t.true(connection.received.startsWith("HTTP/1.1 200 "), "the body is not even asked for");
});

test("with AUTH_ENABLED=false it is 403 reload_disabled, also for an id of ADMIN_KEY_IDS", async (t) => {
  const { reload } = await start(t, `root:${root}\n`, { env: { AUTH_ENABLED: "false", ADMIN_KEY_IDS: "root" } });
  const answer = await reload(root);
  t.is(answer.status, 403);
  t.like((await jsonOf(answer)).error, { type: "permission_error", code: "reload_disabled" });
});

test("a file that cannot be read is 500 reload_failed without its path, logged with it, and the old keys stay", async (t) => {
  const { folder, path, reload, logText } = await start(t, `root:${root}\n`);
  rmSync(path);
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const answer = await reload(root);
    t.is(answer.status, 500);
    const text = await answer.text();
    t.is(JSON.parse(text).error.code, "reload_failed");
    t.false(text.includes(folder));
  }
  t.regex(logText(), /POST \/reload failed/);
  t.false(logText().includes(root));
});

test("a file without a key is read: 200 with 0 keys, and from then on everybody is refused", async (t) => {
  const { reload, write } = await start(t, `root:${root}\n`);
  await write("# nobody\n");
  const answer = await reload(root);
  t.deepEqual([answer.status, await answer.json()], [200, { status: "ok", keys_loaded: 0 }]);
  t.is((await reload(root)).status, 401);
});

test("a request that was accepted keeps running when its key is removed", async (t) => {
  const { promise, open } = gate();
  const engine = createMockEngine({
    script: function* () {
      yield { text: "before" };
      yield { wait: promise };
      yield { text: " after" };
    },
  });
  t.teardown(() => engine.dispose());
  const { reload, server, write } = await start(t, `root:${root}\nuser:${user}\n`, { engine: () => engine });
  const body = JSON.stringify({ stream: true, messages: [{ role: "user", content: "hi" }] });
  const stream = new RawConnection(server.port);
  const lines = [`x-api-key: ${user}`, "Connection: close", `Content-Length: ${body.length}`];
  stream.write(head("POST /v1/chat/completions HTTP/1.1", ...lines) + body);
  await stream.until("before");
  await write(`root:${root}\n`);
  t.is((await reload(root)).status, 200);
  t.is((await fetch(`${server.url}/v1/models`, { headers: withKey(user) })).status, 401);
  open();
  await stream.closed;
  t.regex(stream.received, /before.* after.*\[DONE\]/s);
});

const who: Handler = (ctx) => {
  ctx.body = ctx.state.identity;
};

test("under load every call meets the old keys or the new ones, never a mixture and never none", async (t) => {
  const table: Route[] = [...routes, { method: "GET", path: "/who", class: "key", handler: who }];
  // Each version has all limits alike, and its own id for the key of `user`.
  const version = (limit: number, id: string) => `root:${root}:${limit}/${limit}/${limit}\n${id}:${user}:${limit}\n`;
  const versions = [version(1_000_001, "even"), version(1_000_002, "odd")];
  const { reload, server, write } = await start(t, versions[0]!, { table });
  let done = false;
  let answered = 0;
  const ask = async (key: string) => {
    const answer = await fetch(`${server.url}/who`, { headers: withKey(key) });
    if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    const { keyId, limits } = (await jsonOf(answer)) as { keyId: string; limits: Record<string, number> };
    answered += 1;
    return { keyId, limits };
  };
  const watchRoot = async () => {
    while (!done) {
      const values = new Set(Object.values((await ask(root)).limits));
      if (values.size !== 1) throw new Error(`a mixture of limits: ${[...values]}`);
    }
  };
  const watchUser = async () => {
    while (!done) {
      const { keyId, limits } = await ask(user);
      const expected = { 1000001: "even", 1000002: "odd" }[limits.requestsPerMinute!];
      if (keyId !== expected) throw new Error(`${keyId} with ${limits.requestsPerMinute}`);
    }
  };
  const watchers = [watchRoot(), watchRoot(), watchUser(), watchUser()];
  for (let turn = 1; turn <= 50; turn += 1) {
    await write(versions[turn % 2]!);
    // Two at once: the second one waits for the first, and finds the same.
    const answers = await Promise.all([reload(root), reload(user)]);
    t.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    );
    await Promise.all(answers.map((answer) => answer.text()));
    t.is((await ask(user)).keyId, turn % 2 === 0 ? "even" : "odd", "what was answered is in force");
  }
  done = true;
  await Promise.all(watchers);
  t.true(answered > 100);
});
