// EXTRA_ARGS: llama-server's flags become variables; what is refused or unknown is named without showing its value.
import test from "ava";
import fc from "fast-check";
import { parseExtraArgs } from "../../src/config/extra-args.ts";
import { table } from "../../src/config.ts";

const valuesOf = (text: string) =>
  Object.fromEntries(parseExtraArgs(text).values.map((value) => [value.variable, value.text]));
const problemsOf = (text: string) => parseExtraArgs(text).problems;

test("both forms of a value, short and long names", (t) => {
  const expected = { CTX: "4096", NGL: "auto", MODEL_PATH: "/m.gguf" };
  t.deepEqual(valuesOf("-c 4096 -ngl auto -m /m.gguf"), expected);
  t.deepEqual(valuesOf("--ctx-size=4096 --n-gpu-layers=auto --model=/m.gguf"), expected);
  t.deepEqual(valuesOf("--ctx-size 4096 --gpu-layers auto\t\n--model /m.gguf"), expected);
});

test("every flag of the contract maps to its variable", (t) => {
  const flags: Record<string, string> = {
    "-m --model": "MODEL_PATH",
    "-a --alias": "MODEL_ALIAS",
    "-c --ctx-size": "CTX",
    "-np --parallel": "MAX_CONCURRENT_REQUESTS",
    "-ngl --gpu-layers --n-gpu-layers": "NGL",
    "-t --threads": "THREADS",
    "-b --batch-size": "BATCH",
    "-ub --ubatch-size": "UBATCH",
    "--temp": "DEFAULT_TEMPERATURE",
    "--top-p": "DEFAULT_TOP_P",
    "--top-k": "DEFAULT_TOP_K",
    "--min-p": "DEFAULT_MIN_P",
    "--repeat-penalty": "DEFAULT_REPEAT_PENALTY",
    "-fa --flash-attn": "FLASH_ATTN",
    "-ctk --cache-type-k": "KV_TYPE_K",
    "-ctv --cache-type-v": "KV_TYPE_V",
    "-s --seed": "SEED",
    "-md --model-draft": "DRAFT_MODEL_PATH",
    "--lora": "LORA_PATHS",
    "--chat-template-file": "CHAT_TEMPLATE_FILE",
    "-n --predict --n-predict": "MAX_OUTPUT_TOKENS",
  };
  for (const [names, variable] of Object.entries(flags)) {
    t.true(variable in table);
    for (const name of names.split(" ")) t.is(valuesOf(`${name}=on`)[variable], "on", name);
  }
});

test("words are split as a shell does, nothing is expanded", (t) => {
  t.deepEqual(valuesOf(`-m 'a b'"c d"e\\ f`), { MODEL_PATH: "a bc de f" });
  t.deepEqual(valuesOf(`-m "a\\"b\\\\c\\d" -a '$HOME *.x'`), { MODEL_PATH: 'a"b\\c\\d', MODEL_ALIAS: "$HOME *.x" });
  for (const open of ["-m 'a", '-m "a', "-m a\\"]) t.regex(problemsOf(open)[0]!, /quote is not closed|backslash/);
});

test("flags without a value", (t) => {
  t.deepEqual(valuesOf("--mlock --no-mmap"), { MLOCK: "true", MMAP: "false" });
  t.deepEqual(valuesOf("-fa -c 512"), { FLASH_ATTN: "on", CTX: "512" });
  t.deepEqual(valuesOf("-fa off"), { FLASH_ATTN: "off" });
  t.regex(problemsOf("--mlock=true")[0]!, /--mlock takes no value/);
});

test("what this server does anyway is accepted", (t) => {
  t.deepEqual(parseExtraArgs("-cb --cont-batching --jinja --metrics --slots"), { values: [], problems: [] });
});

test("a negative number is a value, another flag is not", (t) => {
  t.deepEqual(valuesOf("-s -1"), { SEED: "-1" });
  t.deepEqual(problemsOf("-c --mlock"), ["EXTRA_ARGS: -c needs a value"]);
  t.deepEqual(problemsOf("--mlock -c"), ["EXTRA_ARGS: -c needs a value"]);
  t.deepEqual(problemsOf("-c="), ["EXTRA_ARGS: -c needs a value"]);
});

test("-n -1 is no limit", (t) => {
  t.deepEqual(valuesOf("-n -1"), { DEFAULT_MAX_TOKENS: "-1", MAX_OUTPUT_TOKENS: "0" });
  t.deepEqual(valuesOf("-n 64"), { DEFAULT_MAX_TOKENS: "64", MAX_OUTPUT_TOKENS: "64" });
});

test("a repeated flag counts last, --lora adds up", (t) => {
  t.deepEqual(valuesOf("-c 1 --ctx-size 2"), { CTX: "2" });
  t.deepEqual(valuesOf("--lora a --lora b=2"), { LORA_PATHS: "a,b=2" });
});

test("refused and unknown flags are named, what follows them is never shown", (t) => {
  const problems = problemsOf(
    "--host 1.2.3.4 --api-key sk-secret --api-key=sk-secret --frobnicate sk-secret --x=sk-secret",
  );
  t.deepEqual(
    problems.map((problem) => problem.split(";")[0]),
    [
      "EXTRA_ARGS: --host is refused",
      "EXTRA_ARGS: --api-key is refused",
      "EXTRA_ARGS: --api-key is refused",
      "EXTRA_ARGS: --frobnicate is not a known flag",
      "EXTRA_ARGS: --x is not a known flag",
    ],
  );
  t.false(problems.join().includes("secret"));
  t.deepEqual(problemsOf("8192 -c 1"), ['EXTRA_ARGS: "8192" is not a flag']);
});

test("words that every JavaScript object knows are no flags", (t) => {
  t.deepEqual(problemsOf("valueOf constructor"), [
    'EXTRA_ARGS: "valueOf" is not a flag',
    'EXTRA_ARGS: "constructor" is not a flag',
  ]);
});

test("any text ends in values or problems", (t) => {
  const words = fc.constantFrom(
    "-c",
    "--lora",
    "-fa",
    "--mlock",
    "--host",
    "=",
    "'",
    '"',
    "\\",
    " ",
    "a",
    "-1",
    "--x=y",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(words).map((all) => all.join("")),
      ),
      (text) => {
        const { values, problems } = parseExtraArgs(text);
        return (
          values.length + problems.length > 0 ||
          /^(\s|-cb|--cont-batching|--jinja|--metrics|--slots|''|"")*$/.test(text)
        );
      },
    ),
    { numRuns: 2000 },
  );
  t.pass();
});
