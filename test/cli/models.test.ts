// `llama-gguf models`: what lies in MODELS_DIR and what a file is, valid or not.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { packageRoot } from "../../src/paths.ts";
import { runCli } from "../helpers/cli.ts";
import { text, tinyModel, writeGguf } from "../helpers/gguf.ts";

const dir = mkdtempSync(join(tmpdir(), "cli-models-"));
test.after.always(() => rmSync(dir, { recursive: true }));
const env = { DATA_DIR: dir, MODELS_DIR: dir };

test.before(() => {
  writeFileSync(join(dir, "good.gguf"), writeGguf(tinyModel));
  writeFileSync(join(dir, "bad.gguf"), "404: Not Found");
  const metadata = { "general.architecture": text("llama"), "general.name": text("a\u001b[31mb") };
  writeFileSync(join(dir, "odd.gguf"), writeGguf({ ...tinyModel, metadata }));
});

test("list shows size and validity of every file", (t) => {
  const { code, stdout } = runCli(["models", "list"], env);
  t.is(code, 0);
  t.regex(stdout, /^ *– {2}bad\.gguf {2}invalid: .* is not a GGUF file but text/m);
  t.regex(stdout, /^ *\d+ B {2}good\.gguf {2}ok: llama, F32$/m);
});

test("list says when there is nothing", (t) => {
  const { code, stdout } = runCli(["models", "list"], { ...env, MODELS_DIR: "/nowhere" });
  t.deepEqual({ code, stdout }, { code: 0, stdout: "no *.gguf file under /nowhere\n" });
});

test("inspect describes a file by path, or by its name under MODELS_DIR", (t) => {
  const byPath = runCli(["models", "inspect", join("models", "tiny-chat.gguf")], env);
  t.is(byPath.code, 0);
  for (const line of [
    /^architecture: +llama$/m,
    /^quantisation: +Q8_0$/m,
    /^parameters: +918,656$/m,
    /^training context: +4096 tokens$/m,
    /^chat template: +yes$/m,
    /^KV per 1024 tokens: +1\.0 MiB/m,
  ]) {
    t.regex(byPath.stdout, line);
  }
  const byName = runCli(["models", "inspect", "tiny-chat.gguf"], { ...env, MODELS_DIR: join(packageRoot, "models") });
  t.is(byName.stdout, byPath.stdout);
});

test("inspect refuses a file that is no model with exit code 2", (t) => {
  const { code, stdout, stderr } = runCli(["models", "inspect", "bad.gguf"], env);
  t.deepEqual({ code, stdout }, { code: 2, stdout: "" });
  t.regex(stderr, /bad\.gguf: is not a GGUF file/);
});

test("control characters of a file's name for itself do not reach the terminal", (t) => {
  const { stdout } = runCli(["models", "inspect", "odd.gguf"], env);
  t.regex(stdout, /^name: +a\?\[31mb$/m);
});

test("a wrong configuration is exit code 2 here too", (t) => {
  t.is(runCli(["models", "list"], { ...env, PORT: "x" }).code, 2);
});
