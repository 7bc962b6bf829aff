// A model with tiny-chat's vocabulary that says something else: its guesses about tiny-chat are mostly wrong.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GgmlType, readGgufFileInfo } from "node-llama-cpp";
import { blockBytes, blockValues } from "../../src/bench/gguf-writer.ts";
import { RandomBytes } from "../../src/bench/random-bytes.ts";
import { tinyChatPath } from "./tiny-engine.ts";

/** tiny-chat with random weights in its layers. @returns its path */
export async function writeOtherChat(): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), "other-chat-")), "other-chat.gguf");
  const bytes = readFileSync(tinyChatPath);
  const { fullTensorInfo } = await readGgufFileInfo(tinyChatPath, { sourceType: "filesystem" });
  const random = new RandomBytes(7, 0);
  for (const { name, ggmlType, dimensions, fileOffset } of fullTensorInfo ?? []) {
    if (!name.startsWith("blk.") || ggmlType !== GgmlType.Q8_0) continue;
    const values = dimensions.reduce<number>((product, size) => product * Number(size), 1);
    const start = Number(fileOffset);
    // Each block keeps its scale, so the weights keep their size.
    for (let at = start; at < start + (values / blockValues) * blockBytes; at += blockBytes) {
      random.fill(bytes, at + 2, at + blockBytes);
    }
  }
  writeFileSync(path, bytes);
  return path;
}
