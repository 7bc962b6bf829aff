// The control fields of chat and completions: every edge of every range, defaults, aliases, seeds, and combinations.
import test from "ava";
import { addToSeed } from "../../src/openai/sampling-fields.ts";
import { chat, completion, refusal } from "../helpers/parsing.ts";

const int32 = 2 ** 31 - 1;

/** Field, smallest and largest value, and whether it is an integer. */
const ranges: [name: string, min: number, max: number, kind: "integer" | "decimal"][] = [
  ["max_tokens", -1, int32, "integer"],
  ["max_completion_tokens", -1, int32, "integer"],
  ["n_predict", -1, int32, "integer"],
  ["temperature", 0, 2, "decimal"],
  ["top_p", 0, 1, "decimal"],
  ["top_k", -1, 1_000_000, "integer"],
  ["min_p", 0, 1, "decimal"],
  ["repeat_last_n", 0, 1_000_000, "integer"],
  ["repeat_penalty", 0.01, 10, "decimal"],
  ["presence_penalty", -2, 2, "decimal"],
  ["frequency_penalty", -2, 2, "decimal"],
  ["seed", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "integer"],
  ["n", 1, 4, "integer"],
  ["n_cmpl", 1, 4, "integer"],
  ["typical_p", 0, 1, "decimal"],
  ["top_n_sigma", -1, 100, "decimal"],
  ["dynatemp_range", 0, 2, "decimal"],
  ["dynatemp_exponent", 0, 10, "decimal"],
  ["xtc_probability", 0, 1, "decimal"],
  ["xtc_threshold", 0, 1, "decimal"],
  ["dry_multiplier", 0, 10, "decimal"],
  ["dry_base", 1, 10, "decimal"],
  ["dry_allowed_length", 0, 1000, "integer"],
  ["dry_penalty_last_n", 0, 1_000_000, "integer"],
  ["mirostat", 0, 2, "integer"],
  ["mirostat_tau", 0, 100, "decimal"],
  ["mirostat_eta", 0, 1, "decimal"],
];

for (const [route, parse] of Object.entries({ chat, completion })) {
  for (const [name, min, max, kind] of ranges) {
    test(`${route}: ${name} may be ${min} to ${max}, and nothing else`, (t) => {
      const refuse = (value: unknown) => refusal(() => parse({ [name]: value }));
      const step = kind === "integer" ? 1 : 0.001;
      t.is(refuse(min), undefined);
      t.is(refuse(max), undefined);
      t.like(refuse(min - step), { status: 400, code: `${kind}_below_min_value`, param: name });
      t.like(refuse(max + step), { status: 400, code: `${kind}_above_max_value`, param: name });
      t.regex(refuse(max + 2)!.message, new RegExp(`^Invalid '${name}': expected a value <= ${max}, got `));
      t.like(refuse(-1e300), { code: `${kind}_below_min_value` });
      t.like(refuse(1e300), { code: `${kind}_above_max_value` });
      t.like(refuse("5"), { code: "invalid_type", param: name });
      t.like(refuse(true), { code: "invalid_type", param: name });
      t.like(refuse([]), { code: "invalid_type", param: name });
      t.is(refuse(null), undefined, "null means absent");
    });
  }

  test(`${route}: a number beyond all that a double holds is out of range`, (t) => {
    const refuse = (field: string, number: string) => refusal(() => parse(JSON.parse(`{"${field}":${number}}`)));
    t.like(refuse("temperature", "1e400"), { code: "decimal_above_max_value", param: "temperature" });
    t.like(refuse("temperature", "-1e400"), { code: "decimal_below_min_value", param: "temperature" });
    t.like(refuse("seed", "1e400"), { code: "decimal_above_max_value", param: "seed" });
  });

  test(`${route}: an integer field says so when it gets a fraction or text`, (t) => {
    t.is(
      refusal(() => parse({ top_k: 1.5 }))?.message,
      "Invalid type for 'top_k': expected an integer, got a decimal number.",
    );
    t.is(refusal(() => parse({ top_k: "1" }))?.message, "Invalid type for 'top_k': expected a number, got a string.");
    t.is(
      refusal(() => parse({ temperature: {} }))?.message,
      "Invalid type for 'temperature': expected a number, got an object.",
    );
    t.is(
      refusal(() => parse({ stream: "true" }))?.message,
      "Invalid type for 'stream': expected a boolean, got a string.",
    );
  });

  test(`${route}: without fields the operator's defaults count, else the fields do`, (t) => {
    const defaults = parse({}).settings;
    t.like(defaults, { stop: [], logitBias: [], n: 1, stream: false, includeUsage: false });
    const plain = { temperature: 1, topP: 1, topK: 40, minP: 0.05, repeatPenalty: 1, repeatLastN: 64 };
    t.like(defaults.sampling, { ...plain, frequencyPenalty: 0, presencePenalty: 0 });
    const env = {
      DEFAULT_TEMPERATURE: "0.5",
      DEFAULT_TOP_P: "0.9",
      DEFAULT_TOP_K: "7",
      DEFAULT_MIN_P: "0.1",
      DEFAULT_REPEAT_PENALTY: "1.1",
      DEFAULT_MAX_TOKENS: "33",
      SEED: "12",
    };
    const operators = parse({}, env).settings;
    t.is(operators.maxTokens, 33);
    t.like(operators.sampling, { temperature: 0.5, topP: 0.9, topK: 7, minP: 0.1, repeatPenalty: 1.1, seed: 12 });
    const own = parse({ temperature: 0, top_k: 0, min_p: 0, max_tokens: 5, seed: 3, repeat_last_n: 0 }, env).settings;
    t.is(own.maxTokens, 5);
    t.like(own.sampling, { temperature: 0, topK: 0, minP: 0, seed: 3, repeatLastN: 0, topP: 0.9 });
  });

  test(`${route}: of several token limits n_predict wins, then max_completion_tokens`, (t) => {
    const limits = { max_tokens: 1, max_completion_tokens: 2, n_predict: 3 };
    t.is(parse(limits).settings.maxTokens, 3);
    t.is(parse({ ...limits, n_predict: null }).settings.maxTokens, 2);
    t.is(parse({ ...limits, n_predict: null, max_completion_tokens: null }).settings.maxTokens, 1);
  });

  test(`${route}: stop is a string or up to 16 strings of 1 to 256 bytes`, (t) => {
    const refuse = (stop: unknown) => refusal(() => parse({ stop }));
    t.deepEqual(parse({ stop: "a" }).settings.stop, ["a"]);
    t.deepEqual(parse({ stop: [] }).settings.stop, []);
    t.deepEqual(parse({ stop: ["b", "é".repeat(128)] }).settings.stop, ["b", "é".repeat(128)]);
    t.is(refuse(new Array(16).fill("x")), undefined);
    t.like(refuse(new Array(17).fill("x")), {
      code: "array_above_max_length",
      param: "stop",
      message: "Invalid 'stop': expected at most 16 items, got 17.",
    });
    t.like(refuse(""), { code: "string_below_min_length", param: "stop" });
    t.like(refuse(["a", ""]), { code: "string_below_min_length", param: "stop[1]" });
    t.like(refuse("é".repeat(129)), {
      code: "string_above_max_length",
      param: "stop",
      message: "Invalid 'stop': expected at most 256 bytes, got 258.",
    });
    t.like(refuse(["a", 5]), { code: "invalid_type", param: "stop[1]" });
    t.like(refuse(5), {
      code: "invalid_type",
      message: "Invalid type for 'stop': expected a string or an array, got an integer.",
    });
  });

  test(`${route}: stream_options need stream, include_usage turns usage on`, (t) => {
    t.like(parse({ stream: true, stream_options: { include_usage: true } }).settings, {
      stream: true,
      includeUsage: true,
    });
    t.like(parse({ stream: true, stream_options: {} }).settings, { includeUsage: false });
    const calm = { include_usage: null, include_obfuscation: false, else: 1 };
    t.is(
      refusal(() => parse({ stream: true, stream_options: calm })),
      undefined,
    );
    t.like(
      refusal(() => parse({ stream_options: {} })),
      { code: "invalid_value", param: "stream_options" },
    );
    t.like(
      refusal(() => parse({ stream: false, stream_options: {} })),
      { code: "invalid_value" },
    );
    t.like(
      refusal(() => parse({ stream: true, stream_options: { include_usage: 1 } })),
      {
        code: "invalid_type",
        param: "stream_options.include_usage",
      },
    );
    t.like(
      refusal(() => parse({ stream: true, stream_options: [] })),
      { code: "invalid_type", param: "stream_options" },
    );
  });

  test(`${route}: seeds count modulo 2^32; -1 and none are random, unless the operator set one`, (t) => {
    const seed = (value: unknown, env = {}) => parse({ seed: value }, env).settings.sampling.seed;
    t.is(seed(42), 42);
    t.is(seed(2 ** 32 + 5), 5);
    t.is(seed(-2), 2 ** 32 - 2);
    t.is(seed(null, { SEED: "9" }), 9);
    for (const random of [() => seed(-1), () => seed(null), () => seed(-1, { SEED: "9" })]) {
      const seeds = new Set(Array.from({ length: 20 }, random));
      t.true(seeds.size > 10);
      for (const value of seeds) t.true(Number.isInteger(value) && value >= 0 && value < 2 ** 32);
    }
  });

  test(`${route}: any model is served, only its own name with MODEL_STRICT`, (t) => {
    const strict = { MODEL_STRICT: "true" };
    t.is(
      refusal(() => parse({ model: "gpt-x" })),
      undefined,
    );
    t.is(
      refusal(() => parse({ model: "" })),
      undefined,
    );
    t.is(
      refusal(() => parse({ model: "m".repeat(256) })),
      undefined,
    );
    t.like(
      refusal(() => parse({ model: "m".repeat(257) })),
      { code: "string_above_max_length", param: "model" },
    );
    t.like(
      refusal(() => parse({ model: 5 })),
      { code: "invalid_type", param: "model" },
    );
    t.is(
      refusal(() => parse({ model: "served" }, strict)),
      undefined,
    );
    t.like(
      refusal(() => parse({}, strict)),
      { status: 400, code: "missing_required_parameter", param: "model" },
    );
    t.deepEqual(
      refusal(() => parse({ model: "other" }, strict)),
      {
        status: 404,
        code: "model_not_found",
        param: "model",
        message: "The model 'other' does not exist; served: 'served'.",
      },
    );
    t.true(refusal(() => parse({ model: "m".repeat(256) }, strict))!.message.length < 130);
  });

  test(`${route}: metadata has at most 16 members, names of 64 and texts of 512 characters`, (t) => {
    const refuse = (metadata: unknown) => refusal(() => parse({ metadata }));
    const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]));
    t.is(refuse(pairs(16)), undefined);
    t.like(refuse(pairs(17)), { code: "object_above_max_properties", param: "metadata" });
    t.is(refuse({ ["k".repeat(64)]: "v".repeat(512) }), undefined);
    t.like(refuse({ ["k".repeat(65)]: "v" }), { code: "string_above_max_length", param: "metadata" });
    t.like(refuse({ k: "v".repeat(513) }), { code: "string_above_max_length", param: "metadata.k" });
    t.like(refuse({ k: 1 }), { code: "invalid_type", param: "metadata.k" });
    t.like(refuse("x"), { code: "invalid_type", param: "metadata" });
  });

  test(`${route}: logit_bias in both forms`, (t) => {
    const entries = (logit_bias: unknown) =>
      parse({ logit_bias }).settings.logitBias.map(({ token, bias }) => [token, bias]);
    const refuse = (logit_bias: unknown) => refusal(() => parse({ logit_bias }));
    const never = Number.NEGATIVE_INFINITY;
    t.deepEqual(entries({ "5": -100, " the": 100, "7": false }), [
      [5, -100],
      [7, never],
      [" the", 100],
    ]);
    t.deepEqual(
      entries([
        [5, 1.5],
        ["x", false],
        [5, 2],
      ]),
      [
        [5, 1.5],
        ["x", never],
        [5, 2],
      ],
    );
    t.is(refuse(Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [i, 0]))), undefined);
    t.like(refuse(Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 0]))), {
      code: "object_above_max_properties",
      param: "logit_bias",
    });
    t.is(refuse(new Array(1024).fill([1, 0])), undefined);
    t.like(refuse(new Array(1025).fill([1, 0])), { code: "array_above_max_length", param: "logit_bias" });
    t.like(refuse({ "5": 100.5 }), { code: "decimal_above_max_value", param: "logit_bias.5" });
    t.like(refuse({ "5": -101 }), { code: "decimal_below_min_value", param: "logit_bias.5" });
    t.like(refuse({ "5": "1" }), { code: "invalid_type", param: "logit_bias.5" });
    t.like(refuse({ "5": true }), { code: "invalid_type", param: "logit_bias.5" });
    t.like(refuse([[5]]), { code: "array_below_min_length", param: "logit_bias[0]" });
    t.like(refuse([[5, 1, 2]]), { code: "array_above_max_length", param: "logit_bias[0]" });
    t.like(refuse([[5.5, 1]]), { code: "invalid_type", param: "logit_bias[0][0]" });
    t.like(
      refuse([
        [5, 1],
        [6, 101],
      ]),
      { code: "decimal_above_max_value", param: "logit_bias[1][1]" },
    );
    t.like(refuse("x"), { code: "invalid_type", param: "logit_bias" });
  });

  test(`${route}: a time limit, and what is told about the making of an answer`, (t) => {
    const limit = (t_max_predict_ms: unknown) => parse({ t_max_predict_ms }).settings.maxDecodeMs;
    t.deepEqual(
      [limit(-1), limit(0), limit(null), limit(1), limit(86_400_000)],
      [undefined, undefined, undefined, 1, 86_400_000],
    );
    const refuse = (t_max_predict_ms: unknown) => refusal(() => parse({ t_max_predict_ms }));
    t.like(refuse(-2), { code: "integer_below_min_value", param: "t_max_predict_ms" });
    t.like(refuse(86_400_001), { code: "integer_above_max_value", param: "t_max_predict_ms" });
    const { report } = parse({ stream: true, return_progress: true, timings_per_token: true }).settings;
    t.deepEqual(report, { timings: true, timingsPerToken: true, verbose: false, progress: true });
    t.false(parse({ return_progress: true }).settings.report.progress);
    t.like(
      refusal(() => parse({ return_progress: 1 })),
      { code: "invalid_type", param: "return_progress" },
    );
  });

  test(`${route}: fields that cannot be served are refused by name, unless they ask for nothing`, (t) => {
    const refused: [name: string, value: unknown][] = [
      ["store", true],
      ["audio", {}],
      ["modalities", ["text", "audio"]],
      ["previous_response_id", "resp_1"],
      ["conversation", "c"],
      ["truncation", "auto"],
      ["web_search_options", {}],
      ["moderation", {}],
      ["functions", [{}]],
      ["functions", []],
      ["function_call", "auto"],
      ["function_call", "none"],
    ];
    for (const [name, value] of refused) {
      t.like(
        refusal(() => parse({ [name]: value })),
        { status: 400, code: "unsupported_parameter", param: name },
      );
      t.is(
        refusal(() => parse({ [name]: null })),
        undefined,
      );
    }
    const calm = { store: false, modalities: ["text"], mirostat: 0, n_probs: 0 };
    t.deepEqual(parse({ ...calm, lora: [], t_max_predict_ms: 0, return_progress: false }).ignored, []);
  });

  test(`${route}: rare sampling fields cross only when they are set`, (t) => {
    const { sampling } = parse({ typical_p: 0.9, mirostat: 2, dry_sequence_breakers: ["\n"], samplers: "kt" }).settings;
    t.like(sampling, { typicalP: 0.9, mirostat: 2, samplers: ["top_k", "temperature"] });
    t.deepEqual(sampling.drySequenceBreakers, ["\n"]);
    t.false("topNSigma" in sampling);
    t.false(Object.values(parse({}).settings.sampling).includes(undefined as never));
    t.deepEqual(parse({ samplers: ["top_k", "penalties"] }).settings.sampling.samplers, ["top_k", "penalties"]);
  });

  test(`${route}: samplers, sequence breakers, adapters and flags have their forms`, (t) => {
    const refuse = (fields: object) => refusal(() => parse(fields as never));
    t.like(refuse({ samplers: ["top_z"] }), { code: "invalid_value", param: "samplers[0]" });
    t.like(refuse({ samplers: [1] }), { code: "invalid_type", param: "samplers[0]" });
    t.like(refuse({ samplers: "kz" }), { code: "invalid_value", param: "samplers" });
    t.like(refuse({ samplers: new Array(17).fill("top_k") }), { code: "array_above_max_length", param: "samplers" });
    t.like(refuse({ dry_sequence_breakers: [] }), { code: "array_below_min_length", param: "dry_sequence_breakers" });
    t.like(refuse({ dry_sequence_breakers: [""] }), { param: "dry_sequence_breakers[0]" });
    t.like(refuse({ dry_sequence_breakers: new Array(33).fill("a") }), { code: "array_above_max_length" });
    t.is(refuse({ lora: [] }), undefined);
    t.like(refuse({ lora: [{ id: 0, scale: 1 }] }), { code: "invalid_value", param: "lora[0].id" });
    t.deepEqual(parse({}).settings.loraScales, []);
    t.like(refuse({ lora: [{ id: 0, scale: 11 }] }), { code: "decimal_above_max_value", param: "lora[0].scale" });
    for (const flag of ["ignore_eos", "cache_prompt"]) {
      t.like(refuse({ [flag]: "true" }), { code: "invalid_type", param: flag });
    }
    t.like(parse({ ignore_eos: true, cache_prompt: false }).settings, { ignoreEnd: true, cachePrompt: false });
  });

  test(`${route}: a grammar is text of at most 65536 bytes with repetitions of at most 2000`, (t) => {
    const refuse = (grammar: unknown) => refusal(() => parse({ grammar }));
    t.is(parse({ grammar: "root ::= [a-z]{2,2000}" }).settings.grammar, "root ::= [a-z]{2,2000}");
    t.like(refuse("root ::= [a-z]{2,2001}"), { code: "invalid_value", param: "grammar" });
    t.like(refuse("root ::= [a-z]{ 99999999999 }"), { code: "invalid_value", param: "grammar" });
    t.like(refuse("x".repeat(65_537)), { code: "string_above_max_length", param: "grammar" });
    t.like(refuse(5), { code: "invalid_type", param: "grammar" });
  });

  test(`${route}: braces with much in them, or open ones, are looked at once`, (t) => {
    t.timeout(10_000);
    for (const grammar of [`{${" ".repeat(65_000)}`, "{ ".repeat(30_000), `{${" ".repeat(250)}`.repeat(250)]) {
      t.is(parse({ grammar }).settings.grammar, grammar);
    }
    const far = `root ::= "a"{${" ".repeat(65_000)}2001}`;
    t.like(
      refusal(() => parse({ grammar: far })),
      { code: "invalid_value", param: "grammar" },
    );
  });

  test(`${route}: fields without effect by nature are silent, all others are named in the order of the body`, (t) => {
    const silent = {
      user: "u",
      safety_identifier: 1,
      metadata: {},
      prompt_cache_key: "k",
      prompt_cache_retention: "24h",
    };
    t.deepEqual(parse({ ...silent, prompt_cache_options: {}, service_tier: "auto" }).ignored, []);
    t.deepEqual(parse({ service_tier: "default" }).ignored, []);
    t.deepEqual(
      parse({ zeta: 1, service_tier: "flex", alpha: {}, verbosity: "low", empty: null, min_keep: 1 }).ignored,
      ["zeta", "service_tier", "alpha", "verbosity", "min_keep"],
    );
  });
}

test("chat refuses a limit of 0 tokens and has no limit by default; completions take 0 and stop at 16", (t) => {
  t.like(
    refusal(() => chat({ max_tokens: 0 })),
    { code: "integer_below_min_value", param: "max_tokens" },
  );
  t.like(
    refusal(() => chat({ n_predict: 0 })),
    { code: "integer_below_min_value", param: "n_predict" },
  );
  t.is(chat({}).settings.maxTokens, -1);
  t.is(completion({ max_tokens: 0 }).settings.maxTokens, 0);
  t.is(completion({}).settings.maxTokens, 16);
  t.is(completion({ max_tokens: -1 }).settings.maxTokens, -1);
});

test("seeds of further choices wrap around at 2^32", (t) => {
  t.is(addToSeed(5, 3), 8);
  t.is(addToSeed(2 ** 32 - 1, 2), 1);
  t.is(addToSeed(-3, 1), 2 ** 32 - 2);
});
