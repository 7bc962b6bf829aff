// The check of LoRA adapter files before the engine sees them.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { checkAdapters } from "../../src/engine/adapter-file.ts";
import { ModelFileError } from "../../src/engine/model-file.ts";
import { type LoraOptions, writeLora } from "../helpers/lora.ts";
import { tinyChatPath } from "../helpers/tiny-engine.ts";

function objection(path: string): string {
  try {
    checkAdapters([{ path, scale: 1 }], "llama");
    return "";
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    if (!error.message.startsWith(`LORA_PATHS: ${path}: `)) throw error;
    return error.message;
  }
}

test("an adapter of the model's architecture passes", async (t) => {
  t.is(objection(await writeLora()), "");
});

const alora = { "adapter.alora.invocation_tokens": { type: "int32s", value: [1, 2] } } as const;
for (const [what, options, reason] of [
  ["of another architecture", { architecture: "qwen2" }, /for the architecture qwen2, but the model's is llama/],
  ["that is a model", { type: "model" }, /not a LoRA adapter/],
  ["that is activated inside a prompt", { metadata: alora }, /aLoRA/],
] as [string, LoraOptions, RegExp][]) {
  test(`an adapter ${what} is refused with the variable and the file`, async (t) => {
    t.regex(objection(await writeLora(options)), reason);
  });
}

test("what is no adapter file at all is refused with the variable and the file", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "adapter-"));
  t.regex(objection(join(folder, "none.gguf")), /cannot be opened \(ENOENT\)/);
  t.regex(objection(tinyChatPath), /not a LoRA adapter/);
  const text = join(folder, "text.gguf");
  writeFileSync(text, "version https://git-lfs");
  t.regex(objection(text), /is not a GGUF file/);
  const cut = join(folder, "cut.gguf");
  writeFileSync(cut, readFileSync(await writeLora()).subarray(0, -100));
  t.regex(objection(cut), /truncated|bytes/);
});
