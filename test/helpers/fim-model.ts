// tiny-chat as a model that can fill in the middle: a copy whose header names tokens for it. It does not fill in well.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tinyChatPath } from "./tiny-engine.ts";

export const fimTokens = { prefix: 1, suffix: 2, middle: 3, file: 4 };

const keys = { pre: fimTokens.prefix, suf: fimTokens.suffix, mid: fimTokens.middle, sep: fimTokens.file };
const u32 = 4;
/** Magic and version before the counts, which are 8 bytes each: tensors, then metadata. */
const metadataCountAt = 16;
const headerBytes = 24;

/** An entry without meaning that brings the new ones to 7 times 32 bytes: tensors stay aligned. */
const padding = "general.test_padding";

/** Path of the copy, in a folder of its own. */
export function writeFimModel(): string {
  const model = readFileSync(tinyChatPath);
  const entries = Object.entries(keys).map(([name, token]) => entry(`tokenizer.ggml.fim_${name}_token_id`, token));
  entries.push(entry(padding, 0));
  const head = Buffer.from(model.subarray(0, headerBytes));
  head.writeBigUInt64LE(head.readBigUInt64LE(metadataCountAt) + BigInt(entries.length), metadataCountAt);
  const path = join(mkdtempSync(join(tmpdir(), "fim-model-")), "tiny-fim.gguf");
  writeFileSync(path, Buffer.concat([head, ...entries, model.subarray(headerBytes)]));
  return path;
}

function entry(key: string, value: number): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(key.length));
  const rest = Buffer.alloc(8);
  rest.writeUInt32LE(u32, 0);
  rest.writeUInt32LE(value, 4);
  return Buffer.concat([length, Buffer.from(key), rest]);
}
