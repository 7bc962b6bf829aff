// The file of saved prompt beginnings: what is written is read, and a cut or changed file yields only entries that were written.
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { PrefixFileReader, PrefixFileWriter, type SavedPrefix } from "../../src/engine/prefix-file.ts";
import { Random } from "../helpers/random.ts";

const identity = { model: "a", size: 3 };
const never = () => false;

const prefix = (scope: string, length: number, checkpoints: readonly number[] = []): SavedPrefix => ({
  scope,
  tokens: Int32Array.from({ length }, (_, i) => i * 3),
  state: Uint8Array.from({ length: length * 7 }, (_, i) => i),
  checkpoints: checkpoints.map((at) => ({ length: at, state: Uint8Array.from({ length: 100 }, (_, i) => i + at) })),
});

const prefixes = [prefix("a", 50, [10, 40]), prefix("b", 3), prefix("ü", 1000, [999])];

const newPath = () => join(mkdtempSync(join(tmpdir(), "prefix-file-")), "kept.bin");

async function write(path: string, late: () => boolean = never): Promise<boolean[]> {
  const writer = await PrefixFileWriter.create(path, identity);
  const added: boolean[] = [];
  for (const one of prefixes) added.push(await writer.add(one, late));
  await writer.finish();
  return added;
}

/** Plain values, for comparison. */
const plain = ({ scope, tokens, state, checkpoints }: SavedPrefix) => ({
  scope,
  tokens: [...tokens],
  state: [...state],
  checkpoints: checkpoints.map((checkpoint) => ({ length: checkpoint.length, state: [...checkpoint.state] })),
});

async function read(path: string) {
  const reader = await PrefixFileReader.open(path);
  try {
    const found: unknown = await reader.identity();
    const entries: SavedPrefix[] = [];
    let next = found === undefined ? undefined : await reader.next();
    while (next !== undefined && next !== "damaged") {
      entries.push(next);
      next = await reader.next();
    }
    return { identity: found, entries: entries.map(plain), damaged: next === "damaged" };
  } finally {
    await reader.close();
  }
}

test("what is written is read, by its owner alone, and nothing is left beside it", async (t) => {
  const path = newPath();
  t.deepEqual(await write(path), [true, true, true]);
  t.deepEqual(await read(path), { identity, entries: prefixes.map(plain), damaged: false });
  t.is(statSync(path).mode & 0o777, 0o600);
  t.false(existsSync(`${path}.part`));
});

test("an entry for which there is no time is left out; those before it count", async (t) => {
  const path = newPath();
  let slices = 0;
  t.deepEqual(await write(path, () => ++slices > 7), [true, false, false]);
  t.deepEqual(await read(path), { identity, entries: [plain(prefixes[0]!)], damaged: false });
});

test("an abandoned file leaves the old one as it was; what a killed process left is replaced", async (t) => {
  const path = newPath();
  await write(path);
  const before = readFileSync(path);
  const writer = await PrefixFileWriter.create(path, { model: "b" });
  await writer.add(prefixes[1]!, never);
  await writer.abandon();
  t.deepEqual(readFileSync(path), before);
  t.false(existsSync(`${path}.part`));
  writeFileSync(`${path}.part`, "left behind");
  await write(path);
  t.deepEqual(readFileSync(path), before);
});

test("a file that is cut at any length yields a beginning of what was written", async (t) => {
  const path = newPath();
  await write(path);
  const whole = readFileSync(path);
  const all = prefixes.map(plain);
  for (let length = 0; length < whole.length; length += length < 600 ? 1 : 97) {
    writeFileSync(path, whole.subarray(0, length));
    const { entries } = await read(path);
    t.deepEqual(entries, all.slice(0, entries.length), `cut at ${length}`);
    t.true(entries.length < all.length);
  }
});

test("a file with changed bytes yields no entry that was not written", async (t) => {
  const path = newPath();
  await write(path);
  const whole = readFileSync(path);
  const all = prefixes.map(plain);
  const random = new Random(1);
  for (let round = 0; round < 400; round++) {
    const changed = Buffer.from(whole);
    const at = random.below(round < 200 ? 300 : whole.length);
    changed[at] = changed[at]! ^ (1 + random.below(255));
    writeFileSync(path, changed);
    const { entries, identity: found } = await read(path);
    t.deepEqual(entries, all.slice(0, entries.length), `byte ${at}`);
    t.true(entries.length < all.length);
    if (entries.length > 0) t.deepEqual(found, identity);
  }
});
