// The invariants of ARCHITECTURE.md, held as ordinary tests. A failure names the file and the rule.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { routes } from "../src/api/routes.ts";
import { checkEnv, checkMap } from "../src/cli/check.ts";
import { table } from "../src/config.ts";
import { catalogue } from "../src/errors.ts";
import { packageRoot } from "../src/paths.ts";
import { findFunctions, packageOf, readSources, type Source } from "./helpers/sources.ts";

const sources = readSources("src", /\.ts$/);
const native = readSources("native", /^(src|cuda)\/.*\.(cc|h|sh)$|^[^/]*\.mjs$/);
const document = (name: string) => readFileSync(join(packageRoot, name), "utf8");

/**
 * Parts of src/, highest first: a file imports from its own part and from lower ones only. Parts on one line are strangers.
 * A part is a folder, or root files that belong together.
 */
const order: readonly Record<string, RegExp>[] = [
  { cli: /^cli\// },
  { process: /^(main|server|drain|stop|hangup|debug-shell)\.ts$/ },
  { bench: /^bench\// },
  { app: /^app\.ts$/ },
  { api: /^api\// },
  // Both dialects have the same control fields, schemas and sentences of refusal; they live with the older one.
  { anthropic: /^anthropic\// },
  { http: /^http\//, openai: /^openai\// },
  { admission: /^admission\// },
  { keys: /^keys\// },
  { engine: /^engine\// },
  { health: /^health\/(?!heartbeat)/ },
  { telemetry: /^telemetry\// },
  { heartbeat: /^health\/heartbeat\.ts$/ },
  { config: /^config(\/|\.ts$)/ },
  { ground: /^(errors|paths|build)\.ts$/ },
];

function placeOf(path: string): { level: number; part: string } | undefined {
  const inside = path.replace(/^src\//, "");
  for (const [level, parts] of order.entries()) {
    for (const [part, pattern] of Object.entries(parts)) if (pattern.test(inside)) return { level, part };
  }
  return undefined;
}

const ownImports = ({ path, imports }: Source) =>
  imports.filter((name) => name.startsWith("src/")).map((to) => ({ from: path, to }));

/** Files outside `allowed` that import a package (or one of its scope, as "@koa"). */
function importersOutside(allowed: RegExp, isIt: (name: string) => boolean): string[] {
  return sources
    .filter(({ path, imports }) => !allowed.test(path) && imports.map(packageOf).some((name) => name && isIt(name)))
    .map(({ path }) => path);
}

test("every source file has a place in the order of parts", (t) => {
  t.deepEqual(
    sources.map(({ path }) => path).filter((path) => !placeOf(path)),
    [],
  );
});

test("imports point one way", (t) => {
  const wrong = sources.flatMap(ownImports).filter(({ from, to }) => {
    const [user, used] = [placeOf(from), placeOf(to)];
    if (!user || !used || user.part === used.part) return false;
    return user.level >= used.level;
  });
  t.deepEqual(wrong, []);
});

test("what serves requests knows the engine by its seam alone", (t) => {
  const serving = /^src\/(app\.ts|api|http|openai|anthropic|admission|keys|telemetry|health)/;
  const wrong = sources
    .filter(({ path }) => serving.test(path))
    .flatMap(ownImports)
    .filter(({ to }) => to.startsWith("src/engine/") && to !== "src/engine/engine.ts");
  t.deepEqual(wrong, []);
});

test("only engine/ imports node-llama-cpp or loads the addon", (t) => {
  t.deepEqual(
    importersOutside(/^src\/engine\//, (name) => /node-llama-cpp$|^@node-llama-cpp\//.test(name)),
    [],
  );
  t.deepEqual(
    sources.filter(({ code }) => code.includes('.node"')).map(({ path }) => path),
    ["src/engine/load-addon.ts"],
  );
});

test("koa is known to app, http/ and api/ only", (t) => {
  t.deepEqual(
    importersOutside(/^src\/(app\.ts|http\/|api\/)/, (name) => name === "koa" || name.startsWith("@koa/")),
    [],
  );
});

test("better-sse is known to http/event-stream.ts only, bottleneck to admission/ only", (t) => {
  t.deepEqual(
    importersOutside(/^src\/http\/event-stream\.ts$/, (name) => name === "better-sse"),
    [],
  );
  t.deepEqual(
    importersOutside(/^src\/admission\//, (name) => name === "bottleneck"),
    [],
  );
});

test("only config.ts reads the environment", (t) => {
  const readers = sources.filter(({ code }) => /\bprocess\.(env|loadEnvFile)\b|\benv\b.*"node:process"/.test(code));
  t.deepEqual(
    readers.map(({ path }) => path),
    ["src/config.ts"],
  );
});

test("the health thread's program imports Node and heartbeat.ts only, and heartbeat.ts only Node", (t) => {
  const importsOf = (path: string) =>
    sources.find((source) => source.path === path)!.imports.filter((name) => !name.startsWith("node:"));
  t.deepEqual([...new Set(importsOf("src/health/listener.ts"))], ["src/health/heartbeat.ts"]);
  t.deepEqual(importsOf("src/health/heartbeat.ts"), []);
});

test("wire shapes do no I/O: no Node module but crypto and util, no timers, no network", (t) => {
  const pure = new Set(["node:crypto", "node:util"]);
  const shapes = sources.filter(({ path }) => /^src\/(openai|anthropic)\//.test(path));
  t.deepEqual(
    shapes.flatMap(({ path, imports }) =>
      imports.filter((name) => name.startsWith("node:") && !pure.has(name)).map((name) => `${path}: ${name}`),
    ),
    [],
  );
  t.deepEqual(
    shapes.flatMap(ownImports).filter(({ to }) => to.startsWith("src/http/")),
    [],
  );
  t.deepEqual(
    shapes.filter(({ code }) => /\b(set(Timeout|Interval|Immediate)|fetch)\(/.test(code)).map(({ path }) => path),
    [],
  );
});

test("every failure of the catalogue is in the README's table", (t) => {
  const readme = document("README.md");
  const codes = Object.entries(catalogue).map(([kind, entry]) => ("code" in entry ? entry.code : kind));
  t.deepEqual(
    codes.filter((code) => !new RegExp(`^\\|.*\\b${code}\\b.*\\|$`, "m").test(readme)),
    [],
  );
});

test("the README names every route, and none that is gone", (t) => {
  const named = [...document("README.md").matchAll(/^\| (`(?:GET|POST) .*?`) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([^`]+)`/g)].map(([, route]) => route!),
  );
  t.deepEqual(named.toSorted(), routes.map(({ method, path }) => `${method} ${path}`).toSorted());
});

test("every variable is in .env.example, and both documents match the table", (t) => {
  const example = document(".env.example");
  t.deepEqual(
    Object.keys(table).filter((name) => !new RegExp(`\\b${name}\\b`).test(example)),
    [],
  );
  t.deepEqual(checkEnv(packageRoot, false), []);
});

test("ARCHITECTURE.md names every folder and none that is gone", (t) => {
  t.deepEqual(checkMap(packageRoot), []);
});

test("ARCHITECTURE.md gives a reason for everything at the top level", (t) => {
  const files = execFileSync("git", ["ls-files"], { cwd: packageRoot, encoding: "utf8" }).split("\n").filter(Boolean);
  const entries = new Set(files.map((file) => file.split("/")[0]!));
  const architecture = document("ARCHITECTURE.md");
  t.deepEqual(
    [...entries].filter((entry) => !architecture.includes(`\`${entry}`)),
    [],
  );
});

test("node-llama-cpp is pinned to one version: the addon reads its objects' memory", (t) => {
  t.regex(JSON.parse(document("package.json")).dependencies["node-llama-cpp"], /^\d+\.\d+\.\d+$/);
});

test("the lock file knows every optional package of every platform, or npm ci refuses it", (t) => {
  const { packages } = JSON.parse(document("package-lock.json")) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const wanted = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).map((name) => ({ path, name })),
  );
  const missing = wanted.filter(
    ({ path, name }) => !packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`],
  );
  t.deepEqual(missing, []);
});

test("every source file begins by saying what it owns; a .cc with a header leaves it to that", (t) => {
  const files = [...sources, ...native];
  const headers = new Set(files.map(({ path }) => path).filter((path) => path.endsWith(".h")));
  const silent = files
    .filter(({ path }) => !headers.has(path.replace(/\.cc$/, ".h")) || path.endsWith(".h"))
    .filter(({ text }) => !/^(#!.*\n)?(\/\/|#) \S/.test(text));
  t.deepEqual(
    silent.map(({ path }) => path),
    [],
  );
});

test("no source file is longer than 300 lines", (t) => {
  const long = [...sources, ...native].filter(({ text }) => text.split("\n").length - 1 > 300);
  t.deepEqual(
    long.map(({ path }) => path),
    [],
  );
});

test("no function is longer than 70 lines", (t) => {
  const long = sources.flatMap(({ path, text }) =>
    findFunctions(text)
      .filter(({ lines }) => lines > 70)
      .map(({ line, lines }) => `${path}:${line} has ${lines} lines`),
  );
  t.deepEqual(long, []);
});
