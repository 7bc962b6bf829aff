// Random models kept in the temporary directory between runs of the bench.
import { existsSync, mkdirSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { writeGguf } from "./gguf-writer.ts";
import { randomModel } from "./random-model.ts";
import type { WeightType } from "./random-tensors.ts";
import { type ShapeName, shapes } from "./shapes.ts";

/** Counts up when the same shape and seed make another file than before. */
const revision = 1;

/** @returns path of the model of that shape, which is made first when it is not there yet */
export async function cachedModel(shape: ShapeName, weights: WeightType = "Q8_0"): Promise<string> {
  const { uid } = userInfo();
  const folder = join(tmpdir(), `llama-gguf-bench-${uid}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (statSync(folder).uid !== uid) throw new Error(`${folder} belongs to another user; remove it or set TMPDIR`);
  const path = join(folder, `${shape}-${weights}-${revision}.gguf`);
  if (!existsSync(path)) await writeGguf(path, randomModel(`random ${shape}`, shapes[shape], 1, weights));
  return path;
}
