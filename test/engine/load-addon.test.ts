import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { checkVersions, installedVersions, loadAddon } from "../../src/engine/load-addon.ts";
import { packageRoot } from "../../src/paths.ts";

test("node-llama-cpp is pinned exactly, and the installed one is the pinned one", (t) => {
  const { dependencies } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  t.is(dependencies["node-llama-cpp"], installedVersions().nodeLlamaCpp);
});

test("a binary built for another version is refused with what to run", (t) => {
  const built = { nodeLlamaCppVersion: "3.0.0", llamaCppTag: "b1" };
  const installed = { nodeLlamaCpp: "3.22.1", llamaCpp: "v0.5.0" };
  const error = t.throws(() => checkVersions(built, installed));
  t.regex(error!.message, /built for node-llama-cpp 3\.0\.0 \(llama\.cpp b1\), installed is 3\.22\.1.*npm ci/);
  t.notThrows(() => checkVersions({ nodeLlamaCppVersion: "3.22.1", llamaCppTag: "v0.5.0" }, installed));
});

test("a missing binary, or one that does not load, says what to do", (t) => {
  t.regex(t.throws(() => loadAddon("/nowhere/llama-gguf.node"))!.message, /missing; run `npm ci`/);
  // Before getLlama() there is no libllama-common.so to bind to.
  const error = t.throws(() => loadAddon());
  t.regex(error!.message, /did not load .*getLlama\(\) has not run/s);
});
