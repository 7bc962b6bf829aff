// The documents that are generated equal the tables they are generated from.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { renderConfigTable, renderEnvExample, renderFailureTable, renderReadme } from "../../src/config/env-docs.ts";
import { loadConfig, table } from "../../src/config.ts";
import { catalogue } from "../../src/errors.ts";
import { packageRoot } from "../../src/paths.ts";

const read = (name: string) => readFileSync(join(packageRoot, name), "utf8");
const hint = "run: npm run check -- env --write";

test(".env.example equals the table", (t) => t.is(read(".env.example"), renderEnvExample(), hint));

test("the tables in README.md equal the program's", (t) =>
  t.is(read("README.md"), renderReadme(read("README.md")), hint));

test("every variable is in both documents once, obsolete ones called so", (t) => {
  const rows = renderConfigTable().split("\n");
  const example = renderEnvExample();
  for (const [name, entry] of Object.entries(table)) {
    const own = rows.filter((row) => row.startsWith(`| ${name} |`));
    t.is(own.length, 1, name);
    t.is(example.split("\n").filter((line) => line.startsWith(`#${name}=`)).length, 1, name);
    t.is(own[0]!.includes("| obsolete |"), "obsolete" in entry);
  }
});

test("every failure is in the table, and cells keep their bounds", (t) => {
  const rows = renderFailureTable().split("\n");
  t.is(rows.length, Object.keys(catalogue).length + 2);
  for (const row of [...rows, ...renderConfigTable().split("\n")])
    t.is(row.replaceAll("\\|", "").split("|").length, 6, row);
});

test("a document without markers is an error that names them", (t) => {
  t.throws(() => renderReadme("# Title"), { message: /lacks the lines <!-- config:begin --> and <!-- config:end -->/ });
});

test("every line of .env.example, uncommented, is a working configuration", (t) => {
  const lines = renderEnvExample()
    .split("\n")
    .filter((line) => /^#[A-Z_]+=/.test(line));
  const env = Object.fromEntries(lines.map((line) => /^#([A-Z_]+)=(.*)$/.exec(line)!.slice(1) as [string, string]));
  const { config, sources } = loadConfig({ ...env, DATA_DIR: "/tmp" });
  t.is(config.port, 8000);
  t.is(sources.PORT, "PORT");
});
