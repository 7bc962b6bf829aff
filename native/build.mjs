// Builds native/build/llama-gguf.node: compiles src/*.cc against the headers in node-llama-cpp's own bundle and links against
// the libllama-common.so of its CPU package. llama.cpp itself is not compiled. Says what is missing, and skips what is current.
//
//   node native/build.mjs [--sanitize]     --sanitize: with AddressSanitizer (native/README.md), until the next plain build
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const native = dirname(fileURLToPath(import.meta.url));
const modules = join(native, "..", "node_modules");
const sanitize = process.argv.includes("--sanitize");
const out = join(native, "build");
const compiler = process.env.CXX ?? "c++";

class BuildError extends Error {}

function readJson(...path) {
  const file = join(...path);
  if (!existsSync(file)) throw new BuildError(`${file} is missing; run \`npm ci\` first`);
  return JSON.parse(readFileSync(file, "utf8"));
}

function requireTool(command, purpose, hint) {
  try {
    execFileSync(command, ["--version"], { stdio: "ignore" });
  } catch (cause) {
    throw new BuildError(`\`${command}\` is needed ${purpose} and was not found; ${hint}`, { cause });
  }
}

/** The headers of llama.cpp at the very tag that node-llama-cpp's binaries were built from. */
function unpackHeaders(llamaFolder, tag) {
  const target = join(native, "build", `llama.cpp-${tag}`);
  const folders = ["include", "ggml/include", "common", "src/llama-ext.h", "src/llama-grammar.h"];
  if (folders.every((folder) => existsSync(join(target, folder)))) return target;
  requireTool("git", "to unpack llama.cpp's headers", "install git (Debian: apt-get install git)");
  console.log(`addon: unpacking the headers of llama.cpp ${tag}`);
  rmSync(target, { recursive: true, force: true });
  const quiet = { stdio: ["ignore", "ignore", "inherit"] };
  execFileSync("git", ["clone", "--quiet", "--no-checkout", join(llamaFolder, "gitRelease.bundle"), target], quiet);
  execFileSync("git", ["-C", target, "checkout", "--quiet", "HEAD", "--", ...folders], quiet);
  return target;
}

function compileFlags(headers, llamaFolder, versions) {
  return [
    "-std=c++20",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    ...(sanitize ? ["-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"] : ["-O3"]),
    "-DNAPI_VERSION=8",
    "-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL",
    "-DLLAMA_SHARED",
    "-DGGML_SHARED",
    "-DGGML_BACKEND_SHARED",
    `-DNODE_LLAMA_CPP_VERSION="${versions.nodeLlamaCpp}"`,
    `-DLLAMA_CPP_TAG="${versions.llamaCpp}"`,
    // Headers that are not ours are system headers: their warnings are not ours either.
    ...["include", "ggml/include", "common", "src"].map((folder) => `-isystem${join(headers, folder)}`),
    `-isystem${join(llamaFolder, "addon")}`,
    `-isystem${join(modules, "node-addon-api")}`,
    `-isystem${join(modules, "node-api-headers", "include")}`,
  ];
}

async function compileAll(sources, flags) {
  const queue = [...sources];
  const worker = async () => {
    for (let source = queue.pop(); source; source = queue.pop()) {
      await run(compiler, [...flags, "-c", join(native, "src", source), "-o", join(out, `${source}.o`)]);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

async function build() {
  if (process.platform !== "linux")
    throw new BuildError(`the addon is built on Linux only; this is ${process.platform}`);
  const llamaFolder = join(modules, "node-llama-cpp", "llama");
  const versions = {
    nodeLlamaCpp: readJson(modules, "node-llama-cpp", "package.json").version,
    llamaCpp: readJson(llamaFolder, "llama.cpp.info.json").tag,
  };
  const binaries = join(modules, "@node-llama-cpp", `linux-${process.arch}`, "bins", `linux-${process.arch}`);
  if (!existsSync(join(binaries, "libllama-common.so"))) {
    throw new BuildError(`node-llama-cpp has no prebuilt CPU package for linux-${process.arch} here (${binaries})`);
  }

  const sources = readdirSync(join(native, "src")).filter((file) => file.endsWith(".cc"));
  const flags = compileFlags(join(native, "build", `llama.cpp-${versions.llamaCpp}`), llamaFolder, versions);
  const digest = createHash("sha256").update(JSON.stringify([compiler, flags, process.arch]));
  for (const file of readdirSync(join(native, "src")).sort())
    digest.update(file).update(readFileSync(join(native, "src", file)));
  const stamp = digest.digest("hex");
  const stampFile = join(out, "stamp");
  const target = join(out, "llama-gguf.node");
  if (existsSync(target) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;

  requireTool(compiler, "to compile the addon", "install a C++20 compiler (Debian: apt-get install g++) or set CXX");
  mkdirSync(out, { recursive: true });
  unpackHeaders(llamaFolder, versions.llamaCpp);
  const began = Date.now();
  await compileAll(sources, flags);
  // llama_* and ggml_* stay undefined: they come from whichever backend node-llama-cpp has loaded before this addon.
  await run(compiler, [
    "-shared",
    ...(sanitize ? ["-fsanitize=address"] : ["-s"]),
    "-o",
    target,
    ...sources.map((source) => join(out, `${source}.o`)),
    `-L${binaries}`,
    "-l:libllama-common.so",
    "-Wl,--allow-shlib-undefined",
    "-pthread",
  ]);
  writeFileSync(stampFile, stamp);
  console.log(
    `addon: built in ${((Date.now() - began) / 1000).toFixed(1)} s for node-llama-cpp ${versions.nodeLlamaCpp}, llama.cpp ${versions.llamaCpp}`,
  );
}

try {
  await build();
} catch (error) {
  console.error(`addon: ${error.stderr || error.message}`);
  process.exitCode = 1;
}
