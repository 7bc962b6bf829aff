// SIGHUP to a real process: it reads the keys again and opens its log files anew, in every phase of its life, and goes on.
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { ask, until } from "./helpers/process.ts";
import { startCli, startServerProcess } from "./helpers/server-process.ts";

const key = "sk-hangup-test-0123456789";
const scripted = fileURLToPath(new URL("./scripted-main.js", import.meta.url));

/** A mock server whose key file is this text. */
async function start(t: ExecutionContext, text: string, args?: readonly string[]) {
  const dir = mkdtempSync(join(tmpdir(), "hangup-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "keys");
  const write = (content: string) => writeFileSync(file, content, { mode: 0o600 });
  write(text);
  const env = { AUTH_KEYS_FILE: file };
  const server = args
    ? await startServerProcess(t, [...args, join(dir, "release")], env, dir)
    : await startCli(t, { MOCK_BACKEND: "true", ...env }, dir);
  const status = async () => (await ask(server.port, "/v1/models", { headers: { "x-api-key": key } })).status;
  return { ...server, file, write, status, release: () => writeFileSync(join(dir, "release"), "") };
}

test.serial("a server without keys gets them, and loses them again", async (t) => {
  const { process, status, write } = await start(t, "");
  await process.waitFor(/ info ready /);
  t.is(await status(), 401);
  write(`a:${key}\n`);
  process.kill("SIGHUP");
  await process.waitFor(/info SIGHUP: log files opened anew, key file read again keys=1/);
  t.is(await status(), 200);
  write("# nobody\n");
  process.kill("SIGHUP");
  await process.waitFor(/error AUTH_KEYS_FILE holds no valid key/);
  await until(async () => (await status()) === 401);
  t.false(process.output.includes(key));
});

test.serial("before the server is ready it does not kill, and counts", async (t) => {
  const { process, status, write, release } = await start(t, "", [scripted, "slow"]);
  await process.waitFor(/listening/);
  write(`a:${key}\n`);
  process.kill("SIGHUP");
  await process.waitFor(/SIGHUP: .* keys=1/);
  t.is(await status(), 503, "known, but the model is loading");
  release();
  await process.waitFor(/ info ready /);
  t.is(await status(), 200);
});

test.serial("a file that is gone leaves the old keys, with an error in the log", async (t) => {
  const { process, file, status } = await start(t, `a:${key}\n`);
  await process.waitFor(/ info ready /);
  rmSync(file);
  process.kill("SIGHUP");
  await process.waitFor(/error SIGHUP: .*the old ones stay .*AUTH_KEYS_FILE is not there/);
  t.is(await status(), 200);
  t.true(process.running);
});

test.serial("log files that were moved away are opened anew", async (t) => {
  const { process, dir, status } = await start(t, `a:${key}\n`);
  await process.waitFor(/ info ready /);
  t.is(await status(), 200);
  const server = readFileSync(join(dir, "logs", "llama", "latest.txt"), "utf8").trim();
  const access = join(dir, "logs", "api_access.log");
  for (const path of [server, access]) renameSync(path, `${path}.moved`);
  process.kill("SIGHUP");
  await process.waitFor(/SIGHUP: .* keys=1/);
  t.is(await status(), 200);
  await until(() => readFileSync(access, "utf8").includes("/v1/models"));
  t.regex(readFileSync(server, "utf8"), /SIGHUP/);
  t.notRegex(readFileSync(`${server}.moved`, "utf8"), /SIGHUP/);
});

test.serial("with AUTH_ENABLED=false there are no keys to read, and it does not kill either", async (t) => {
  const { process, port } = await startCli(t, { MOCK_BACKEND: "true", AUTH_ENABLED: "false" });
  await process.waitFor(/ info ready /);
  t.is(process.output.match(/ warn AUTH_ENABLED=false: /g)?.length, 1, "said once");
  process.kill("SIGHUP");
  await process.waitFor(/info SIGHUP: log files opened anew/);
  t.is((await ask(port, "/v1/models")).status, 200);
  t.is((await ask(port, "/reload", { method: "POST" })).status, 403);
});
