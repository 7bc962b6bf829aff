// Exit codes of the command line: 0 done, 1 the operation failed, 2 wrong usage or configuration, usage on stderr.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { packageRoot } from "../../src/paths.ts";
import { runCli } from "../helpers/cli.ts";

const dataDir = mkdtempSync(join(tmpdir(), "cli-"));
test.after.always(() => rmSync(dataDir, { recursive: true }));

for (const args of [
  [],
  ["frobnicate"],
  ["start", "--frobnicate"],
  ["start", "extra"],
  ["models"],
  ["models", "inspect"],
  ["check", "frobnicate"],
  ["bench"],
]) {
  test(`"llama-gguf ${args.join(" ")}" is wrong usage`, (t) => {
    const { code, stdout, stderr } = runCli(args, { DATA_DIR: dataDir });
    t.is(code, 2);
    t.is(stdout, "");
    t.regex(stderr, /Usage: llama-gguf/);
  });
}

test("help and version are no errors", (t) => {
  const help = runCli(["--help"]);
  t.is(help.code, 0);
  for (const command of ["start", "keys", "models", "bench", "check"])
    t.regex(help.stdout, new RegExp(`^ {2}${command}\\b`, "m"));
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  t.deepEqual(runCli(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
});

test("start with a wrong configuration says everything and exits with 2", (t) => {
  const { code, stderr } = runCli(["start"], {
    DATA_DIR: dataDir,
    AUTH_ENABLED: "maybe",
    PORT: "80a",
    CTX: "1_000",
    EXTRA_ARGS: "--host 1.2.3.4 --frobnicate 7",
  });
  t.is(code, 2);
  t.regex(stderr, /^5 configuration problems:$/m);
  for (const name of ["AUTH_ENABLED", "PORT", "CTX", "EXTRA_ARGS: --host", "EXTRA_ARGS: --frobnicate"]) {
    t.true(stderr.includes(`  - ${name}`), name);
  }
});

test("start with a model file that is no GGUF exits with 2 before a port is open", (t) => {
  const { code, stderr } = runCli(["start"], { DATA_DIR: dataDir, MODEL_PATH: join(packageRoot, "package.json") });
  t.is(code, 2, stderr);
  t.regex(stderr, /package\.json: is not a GGUF file but text/);
  t.notRegex(stderr, /listen/i);
});

test("start with a missing model exits with 2 and lists what there is", (t) => {
  const env = { DATA_DIR: dataDir, MODELS_DIR: join(packageRoot, "models"), MODEL_NAME: "none.gguf" };
  const { code, stderr } = runCli(["start"], env);
  t.is(code, 2, stderr);
  t.regex(stderr, /none\.gguf: there is no such file/);
  t.regex(stderr, /tiny-embed\.gguf/);
});
