// The check of a model file before llama.cpp sees it: what is served, and what is said about a file that cannot be.
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { checkModel, inspectModelFile, ModelFileError } from "../../src/engine/model-file.ts";
import { packageRoot } from "../../src/paths.ts";
import { type Gguf, text, tinyModel, u32, u64, writeGguf } from "../helpers/gguf.ts";

const models = join(packageRoot, "models");

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), "model-file-"));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

function write(t: ExecutionContext, content: Gguf | Buffer | string, name = "m.gguf"): string {
  const path = join(folder(t), name);
  writeFileSync(path, typeof content === "string" || Buffer.isBuffer(content) ? content : writeGguf(content));
  return path;
}

/** What is said about a file, without its path. */
function refusalOf(t: ExecutionContext, content: Gguf | Buffer | string): string {
  const path = write(t, content);
  const error = t.throws(() => inspectModelFile(path, models), { instanceOf: ModelFileError });
  t.is(error?.exitCode, 2);
  t.true(error?.message.startsWith(`${path}: `));
  return error?.message.slice(path.length + 2) ?? "";
}

test("the embedded model is described, and served as a demo when nothing is configured", (t) => {
  const described = checkModel({ modelPath: undefined, modelName: undefined, modelsDir: "/nowhere" });
  t.like(described, {
    demo: true,
    path: join(models, "tiny-chat.gguf"),
    parts: [join(models, "tiny-chat.gguf")],
    architecture: "llama",
    name: "tiny-chat",
    fileType: "Q8_0",
    contextLength: 4096,
    hasChatTemplate: true,
    tensors: 38,
    parameters: 918656,
    kvBytesPer1024Tokens: 1048576,
    sizeBytes: readFileSync(join(models, "tiny-chat.gguf")).length,
  });
});

test("the other embedded models pass, and have no KV cache", (t) => {
  for (const name of ["tiny-embed", "tiny-rerank"]) {
    t.like(inspectModelFile(join(models, `${name}.gguf`), models), {
      architecture: "bert",
      hasChatTemplate: false,
      kvBytesPer1024Tokens: undefined,
    });
  }
});

test("MODEL_PATH wins over MODEL_NAME, which is looked for under MODELS_DIR", (t) => {
  const path = write(t, tinyModel);
  const named = { modelPath: undefined, modelName: "tiny-embed.gguf", modelsDir: models };
  t.like(checkModel({ ...named, modelPath: path }), { path, demo: false });
  t.like(checkModel(named), { path: join(models, "tiny-embed.gguf"), demo: false });
});

test("the modification time is that of the file, in seconds", (t) => {
  const path = write(t, tinyModel);
  utimesSync(path, 1_700_000_000.9, 1_700_000_000.9);
  t.is(inspectModelFile(path, models).modifiedAt, 1_700_000_000);
});

test("a symbolic link is followed", (t) => {
  const path = write(t, tinyModel);
  symlinkSync(path, `${path}.link.gguf`);
  t.is(inspectModelFile(`${path}.link.gguf`, models).tensors, 1);
});

test("a missing file: the models that exist are listed, two folders deep", (t) => {
  const dir = folder(t);
  mkdirSync(join(dir, "sub", "deep"), { recursive: true });
  for (const name of ["a.gguf", "sub/b.GGUF", "sub/deep/c.gguf", "readme.txt"]) writeFileSync(join(dir, name), "");
  symlinkSync("/nowhere", join(dir, "broken"));
  const error = t.throws(() => checkModel({ modelPath: undefined, modelName: "x.gguf", modelsDir: dir }));
  t.is(
    error?.message,
    `${join(dir, "x.gguf")}: there is no such file; *.gguf files under ${dir}:\n  a.gguf\n  sub/b.GGUF`,
  );
});

test("a missing file and no models, or no MODELS_DIR", (t) => {
  const dir = folder(t);
  for (const modelsDir of [dir, join(dir, "none")]) {
    t.throws(() => inspectModelFile("/nowhere/x.gguf", modelsDir), {
      message: `/nowhere/x.gguf: there is no such file; there is no *.gguf file under ${modelsDir}`,
    });
  }
});

test("at most 50 models are listed", (t) => {
  const dir = folder(t);
  for (let index = 0; index < 60; index++) writeFileSync(join(dir, `${index}.gguf`), "");
  const error = t.throws(() => inspectModelFile("/nowhere/x.gguf", dir));
  t.is(error?.message.split("\n").length, 52);
  t.regex(error?.message ?? "", /… and more$/);
});

test("what is no regular file is refused without waiting for it", (t) => {
  const dir = folder(t);
  t.throws(() => inspectModelFile(dir, models), { message: `${dir}: is a folder, not a file` });
  execFileSync("mkfifo", [join(dir, "pipe.gguf")]);
  t.throws(() => inspectModelFile(join(dir, "pipe.gguf"), models), { message: /is not a regular file$/ });
});

test("a missing chat template file is refused like a model", (t) => {
  const config = {
    modelPath: undefined,
    modelName: undefined,
    modelsDir: models,
    chatTemplateFile: "/nowhere/t.jinja",
  };
  t.throws(() => checkModel(config), {
    instanceOf: ModelFileError,
    message: "/nowhere/t.jinja: cannot be opened (ENOENT)",
  });
});

for (const [what, content, said] of [
  ["an empty file", "", /^is not a GGUF file but empty$/],
  ["an LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", /Git LFS pointer/],
  ["a web page", "<!DOCTYPE html>\n<html><head><title>Log in", /web page/],
  ["other text", "404: Not Found", /but text, likely an LFS pointer or web page/],
  ["text that is not ASCII", `Modèle introuvable ${"é".repeat(600)}`, /but text/],
  ["a zip archive", Buffer.from("504b0304140000000800", "hex"), /zip archive/],
  ["a safetensors file", Buffer.concat([u64(500), Buffer.from('{"w":{"dtype":"F16"')]), /safetensors/],
  ["an old GGML file", Buffer.from("tjgg\x03\0\0\0", "latin1"), /old GGML file/],
  ["other bytes", Buffer.from("00ff00ff00ff00ff", "hex"), /^is not a GGUF file: it begins with bytes 00ff00ff/],
] as const) {
  test(`${what} is recognised`, (t) => t.regex(refusalOf(t, content), said));
}

test("a file's text is not repeated: it may be a secret", (t) =>
  t.notRegex(refusalOf(t, "default:sk-secret"), /secret/));

test("versions 2 and 3 are read, others and big-endian files are refused", (t) => {
  t.is(inspectModelFile(write(t, { ...tinyModel, version: 2 }), models).tensors, 1);
  for (const version of [0, 1, 4]) t.regex(refusalOf(t, { ...tinyModel, version }), /only versions 2 and 3/);
  t.regex(refusalOf(t, { ...tinyModel, version: 3 * 2 ** 24 }), /big-endian/);
});

test("absurd counts and lengths are refused at once", (t) => {
  const array = (value: Gguf["metadata"]): Gguf => ({ ...tinyModel, metadata: value });
  t.regex(
    refusalOf(t, { ...tinyModel, metadataCount: 2n ** 40n }),
    /claims 1099511627776 metadata entries, which cannot fit/,
  );
  t.regex(refusalOf(t, { ...tinyModel, tensorCount: 2n ** 50n }), /claims 1125899906842624 tensors, which cannot fit/);
  t.regex(refusalOf(t, { ...tinyModel, tensorCount: 2n ** 64n - 1n }), /which cannot fit/);
  t.regex(
    refusalOf(t, array({ a: { type: "strings", value: [], count: 2n ** 60n } })),
    /cut off in metadata entry "a"/,
  );
  t.regex(refusalOf(t, array({ a: { type: "u32s", value: [], count: 2n ** 62n } })), /cut off in metadata entry "a"/);
  t.regex(
    refusalOf(t, array({ a: { type: "raw", number: 8, bytes: u64(2n ** 63n) } })),
    /cut off in metadata entry "a"/,
  );
});

test("counts that fit into a huge file are bounded too", (t) => {
  const claims = { ...tinyModel, metadataCount: 10_001n };
  const path = write(t, claims);
  truncateSync(path, 2 ** 40); // Sparse: takes no disk.
  t.throws(() => inspectModelFile(path, models), {
    message: /claims 10001 metadata entries; more than 10000 are not read/,
  });
});

test("a header of endless empty strings ends", (t) => {
  const strings = { a: { type: "strings", value: [], count: 2n ** 36n } } as const;
  const path = write(t, { metadata: strings, tensors: [] });
  truncateSync(path, 2 ** 40);
  t.throws(() => inspectModelFile(path, models), { message: /has a header of more than 134217728 bytes/ });
});

test("a vocabulary of 300,000 strings is walked", (t) => {
  const tokens = Array.from({ length: 300_000 }, (_, index) => `token-${index}`);
  const metadata = {
    ...tinyModel.metadata,
    "tokenizer.ggml.tokens": { type: "strings", value: tokens },
  } as Gguf["metadata"];
  t.is(inspectModelFile(write(t, { ...tinyModel, metadata }), models).contextLength, 64);
});

test("tensors beyond the end of the file: both sizes are named", (t) => {
  const whole = writeGguf(tinyModel);
  const cut = whole.subarray(0, whole.length - 1);
  t.is(
    refusalOf(t, cut),
    `is truncated: its tensors need ${whole.length} bytes, the file has ${whole.length - 1} bytes`,
  );
  t.is(inspectModelFile(write(t, whole), models).parameters, 32);
  t.is(inspectModelFile(write(t, Buffer.concat([whole, Buffer.alloc(99)])), models).parameters, 32);
});

test("a quantised tensor's bytes follow from its blocks", (t) => {
  // 512 elements of Q4_K: 2 blocks of 144 bytes.
  const model = (dataBytes: number): Gguf => ({
    ...tinyModel,
    tensors: [{ name: "w", shape: [256, 2], type: 12 }],
    dataBytes,
  });
  t.is(inspectModelFile(write(t, model(288)), models).fileType, "Q4_K");
  t.regex(refusalOf(t, model(287)), /^is truncated/);
});

test("a tensor that contradicts itself is damage", (t) => {
  const model = (...tensors: NonNullable<Gguf["tensors"]>): Gguf => ({ ...tinyModel, tensors });
  t.regex(refusalOf(t, model({ name: "w", shape: [8, 4], type: 99 })), /tensor "w" has the unknown type 99/);
  t.regex(refusalOf(t, model({ name: "w", shape: [8, 4], type: 4 })), /unknown type 4/);
  t.regex(refusalOf(t, model({ name: "w", shape: [31], type: 8 })), /have 31 elements, no multiple of 32 \(Q8_0\)/);
  t.regex(refusalOf(t, model({ name: "w", shape: [1, 1, 1, 1, 1] })), /has 5 dimensions/);
  t.regex(refusalOf(t, model({ name: "x".repeat(64), shape: [1] })), /the name of tensor 0 has 64 bytes/);
  t.regex(refusalOf(t, model({ name: "w", shape: [8, 4], offset: 32 })), /begins at byte 32 of the data, expected 0/);
  t.regex(refusalOf(t, model({ name: "w", shape: [1] }, { name: "w", shape: [1], offset: 32 })), /"w" appears twice/);
  t.regex(refusalOf(t, model({ name: "w", shape: [2 ** 40, 2 ** 40] })), /larger than any file/);
});

test("metadata that contradict themselves are damage", (t) => {
  const model = (metadata: Gguf["metadata"]): Gguf => ({ ...tinyModel, metadata });
  t.regex(
    refusalOf(
      t,
      model([
        ["a", u32(1)],
        ["a", u32(2)],
      ]),
    ),
    /metadata key "a" appears twice/,
  );
  t.regex(refusalOf(t, model({ "": u32(1) })), /entry 0 has an empty key/);
  t.regex(refusalOf(t, model({ a: { type: "raw", number: 13, bytes: u64(0) } })), /unknown type 13/);
  const nested = Buffer.concat([Buffer.from([9, 0, 0, 0]), u64(1), u64(0)]);
  t.regex(refusalOf(t, model({ a: { type: "raw", number: 9, bytes: nested } })), /array of arrays/);
  t.regex(refusalOf(t, model({ "general.alignment": u32(48) })), /alignment, 48, is not a power of 2/);
  t.regex(refusalOf(t, model({ "general.alignment": text("32") })), /general\.alignment is not a u32/);
  t.regex(refusalOf(t, model({ "general.name": text("x") })), /names no architecture/);
});

test("what is a GGUF but no language model is called what it is", (t) => {
  const architecture = { "general.architecture": text("llama") };
  t.regex(refusalOf(t, { metadata: architecture }), /holds no tensors/);
  t.regex(
    refusalOf(t, { ...tinyModel, metadata: { ...architecture, "general.type": text("adapter") } }),
    /type adapter$/,
  );
  t.regex(refusalOf(t, { ...tinyModel, metadata: { "general.architecture": text("clip") } }), /type mmproj$/);
});

/** A split set of three; any part can be left out or changed. */
function writeSplit(
  t: ExecutionContext,
  change: (part: number) => Gguf | undefined | "as it is" = () => "as it is",
): string {
  const dir = folder(t);
  for (const part of [1, 2, 3]) {
    const metadata = { ...tinyModel.metadata, "split.no": u32(part - 1), "split.count": u32(3) } as Gguf["metadata"];
    const changed = change(part);
    const content = changed === "as it is" ? { ...tinyModel, metadata } : changed;
    if (content) writeFileSync(join(dir, `big-0000${part}-of-00003.gguf`), writeGguf(content));
  }
  return dir;
}

test("any part of a split model may be named; the first is served and all count", (t) => {
  const dir = writeSplit(t);
  for (const part of [1, 2, 3]) {
    const described = inspectModelFile(join(dir, `big-0000${part}-of-00003.gguf`), dir);
    t.like(described, { path: join(dir, "big-00001-of-00003.gguf"), tensors: 3, parameters: 96 });
    t.is(described.parts.length, 3);
  }
});

test("missing parts of a split model are listed", (t) => {
  const dir = writeSplit(t, (part) => (part === 1 ? "as it is" : undefined));
  t.throws(() => inspectModelFile(join(dir, "big-00001-of-00003.gguf"), dir), {
    instanceOf: ModelFileError,
    message: /2 of 3 parts of this split model are missing: big-00002-of-00003\.gguf, big-00003-of-00003\.gguf$/,
  });
});

test("a damaged part of a split model is named", (t) => {
  const dir = writeSplit(t, (part) => (part === 2 ? { ...tinyModel, dataBytes: 1 } : "as it is"));
  t.throws(() => inspectModelFile(join(dir, "big-00001-of-00003.gguf"), dir), {
    message: /big-00002-of-00003\.gguf: is truncated/,
  });
});

test("a part whose name and content disagree is refused", (t) => {
  const dir = writeSplit(t, (part) => (part === 3 ? tinyModel : "as it is"));
  const said = /its name says part 3 of 3, its content says part 1 of 1/;
  t.throws(() => inspectModelFile(join(dir, "big-00001-of-00003.gguf"), dir), { message: said });
  const renamed = { ...tinyModel, metadata: { ...tinyModel.metadata, "split.count": u32(3) } as Gguf["metadata"] };
  t.regex(refusalOf(t, renamed), /its name says part 1 of 1, its content says part 1 of 3/);
});

test("a part number outside its set is refused", (t) => {
  const dir = writeSplit(t);
  for (const part of ["00000", "00004"]) {
    t.throws(() => inspectModelFile(join(dir, `big-${part}-of-00003.gguf`), dir), { message: /does not exist/ });
  }
});
