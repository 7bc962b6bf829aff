// `llama-gguf check`: it notices an edit of either document, a folder the map lacks or invents, and a silent changelog.
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { checkChangelog, checkEnv, checkMap, findUntoldCommits } from "../../src/cli/check.ts";

/** A checkout of its own with these files. */
function checkout(t: ExecutionContext, files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), "check-"));
  t.teardown(() => rmSync(root, { recursive: true }));
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=/nowhere", ...args], {
      cwd: root,
    });
  const write = (path: string, content: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  };
  const commit = (subject: string) => {
    git("add", "-A");
    git("commit", "-q", "-m", subject);
  };
  git("init", "-q");
  for (const [path, content] of Object.entries(files)) write(path, content);
  return { root, write, commit };
}

const markers = "<!-- config:begin -->\n<!-- config:end -->\n<!-- failures:begin -->\n<!-- failures:end -->\n";

test("env: --write makes both documents, an edit of either is noticed", (t) => {
  const { root } = checkout(t, { "README.md": `# Title\n\n${markers}\nThe end.\n` });
  t.is(checkEnv(root, false).length, 2);
  t.deepEqual(checkEnv(root, true), []);
  t.deepEqual(checkEnv(root, false), []);
  const readme = readFileSync(join(root, "README.md"), "utf8");
  t.regex(readme, /^# Title\n[\s\S]*\| PORT \|[\s\S]*\nThe end\.\n$/);
  writeFileSync(join(root, "README.md"), readme.replace("| 8000 |", "| 8080 |"));
  t.regex(checkEnv(root, false).join(), /^README\.md does not match the program/);
  checkEnv(root, true);
  appendFileSync(join(root, ".env.example"), "#MORE=1\n");
  t.regex(checkEnv(root, false).join(), /^\.env\.example does not match the program/);
});

test("map: folders it lacks and folders that are gone are named, ignored ones are not asked for", (t) => {
  const map = "intro `elsewhere/`\n<!-- map:begin -->\n- `src/` code\n- `src/gone/` old\n<!-- map:end -->\n";
  const { root, write } = checkout(t, {
    "ARCHITECTURE.md": map,
    "src/a.ts": "",
    "src/new/b.ts": "",
    "dist/c.js": "",
    ".gitignore": "dist/\n",
  });
  t.deepEqual(checkMap(root), [
    "ARCHITECTURE.md's map does not name src/new/",
    "ARCHITECTURE.md's map names src/gone/, which does not exist",
  ]);
  write("ARCHITECTURE.md", map.replace("src/gone/", "src/new/"));
  t.deepEqual(checkMap(root), []);
  write("ARCHITECTURE.md", "no map");
  t.regex(checkMap(root).join(), /lacks the lines <!-- map:begin --> and <!-- map:end -->/);
});

test("changelog: the last 5 commits to the program must not all be missing; it never fails", (t) => {
  const { root, write, commit } = checkout(t, { "CHANGELOG.md": "# Changelog\n", "src/a.ts": "0" });
  commit("src: begin");
  t.deepEqual(findUntoldCommits(root), [], "a commit that changes the changelog is told");
  for (let index = 1; index <= 5; index++) {
    write("src/a.ts", String(index));
    commit(`src: change ${index}`);
  }
  write("README.md", "words");
  commit("docs: words");
  t.is(findUntoldCommits(root).length, 5);
  t.deepEqual(checkChangelog(root), []);
  write("CHANGELOG.md", "# Changelog\n\n- src: change 3\n");
  t.deepEqual(findUntoldCommits(root), []);
  t.deepEqual(checkChangelog(tmpdir()), [], "outside a checkout");
});
