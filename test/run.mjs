// `npm test`: style, types and compilation, addon, tests, in that order; every stage runs whatever the ones before it said.
// Owns the closing line "N passed, N failed, N skipped": a failed stage, a crash and an empty run count as failures.
//
//   npm test                                   everything
//   npm test -- test/engine/batch.test.ts      some files; other arguments go to ava as they are (--match, --serial)
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => join(root, "node_modules", ".bin", name);
/** Where tests put their files; it is gone afterwards. */
const scratch = mkdtempSync(join(tmpdir(), "llama-gguf-test-"));
const counts = { passed: 0, failed: 0, skipped: 0 };

/** Runs a command to its end. @returns its exit code; 1 when it could not start or a signal ended it */
function run(command, args, stdout = "inherit", onStart = () => {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, TMPDIR: scratch },
      stdio: ["ignore", stdout, "inherit"],
    });
    child.on("error", (error) => {
      console.error(`${command}: ${error.message}`);
      resolve(1);
    });
    child.on("close", (code) => resolve(code ?? 1));
    onStart(child);
  });
}

async function stage(name, command, args) {
  console.log(`== ${name}`);
  const code = await run(command, args);
  if (code === 0) return;
  console.error(`== ${name} failed (exit code ${code})`);
  counts.failed += 1;
}

/** One line of ava's TAP: passed tests are shown short, skipped ones with their reason, everything else as it is. */
function show(line, totals) {
  const total = /^# (pass|skip|fail) (\d+)$/.exec(line);
  if (total) totals[total[1]] = Number(total[2]);
  else if (/^ok \d+ - .* # SKIP$/.test(line)) showSkipped(line.replace(/^ok \d+ - (.*) # SKIP$/, "$1"));
  else if (/^ok \d+ - /.test(line)) console.log(line.replace(/^ok \d+ - /, "  ok    "));
  else if (/^not ok \d+ - /.test(line)) console.log(line.replace(/^not ok \d+ - /, "  FAIL  "));
  else if (!/^(TAP version|1\.\.|# tests |# .* hook$|$)/.test(line)) console.log(`  ${line}`);
}

/** A skipped test says why in its title (test/helpers/skip.ts); one that does not is a failure. */
function showSkipped(title) {
  console.log(`  skip  ${title}`);
  if (/\(skipped: .+\)$/.test(title)) return;
  console.error("        this test is skipped without a reason: register it with testIf() of test/helpers/skip.ts");
  counts.failed += 1;
}

/** `test/a.test.ts` is what people type, `dist/test/a.test.js` what runs. */
const compiled = (arg) => arg.replace(/^(?:\.\/)?(test\/.*)\.ts$/, "dist/$1.js");

async function tests(args) {
  console.log("== tests");
  const totals = { pass: 0, fail: 0, skip: 0 };
  let lines;
  const code = await run(bin("ava"), ["--tap", ...args.map(compiled)], "pipe", (child) => {
    lines = (async () => {
      for await (const line of createInterface({ input: child.stdout })) show(line, totals);
    })();
  });
  await lines;
  counts.passed += totals.pass;
  counts.skipped += totals.skip;
  counts.failed += totals.fail;
  if (totals.pass + totals.fail === 0) fail("no test was executed");
  else if (code !== 0 && totals.fail === 0) fail(`ava ended with exit code ${code} and no failed test`);
}

function fail(why) {
  console.error(`== ${why}`);
  counts.failed += 1;
}

// A test file that was deleted would otherwise still run from its compiled copy.
rmSync(join(root, "dist", "test"), { recursive: true, force: true });
await stage("style", bin("biome"), ["ci", "--colors=off", "."]);
await stage("types and compilation", bin("tsc"), ["-p", "tsconfig.json"]);
await stage("addon", process.execPath, [join("native", "build.mjs")]);
await tests(process.argv.slice(2));
rmSync(scratch, { recursive: true, force: true });
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;
