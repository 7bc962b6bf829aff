// The settings whose samples are compared with llama-server's: each sampler alone, some together, and grammars. A case is a body
// under names that both servers know; what it leaves out is as in `defaults`, so that the servers' own defaults do not matter.

export type SamplingCase = {
  readonly name: string;
  readonly prompt: string;
  readonly fields: Readonly<Record<string, unknown>>;
};

export const maxTokens = 16;

/** Warm enough that tiny-chat, which is sure of most it says, really has a choice. */
export const defaults = { temperature: 1.6, top_k: 40, top_p: 1, min_p: 0.02, repeat_penalty: 1, repeat_last_n: 64 };

const story = "Once upon a time";
const count = "1, 2, 3, 4, 5, 6, 7,";
const refrain = "the cat and the dog and the cat and the dog and";

const samplers: readonly (readonly [string, string, Record<string, unknown>])[] = [
  ["defaults", story, {}],
  ["greedy", story, { temperature: 0 }],
  ["cool", "The capital of France is", { temperature: 0.4 }],
  ["hot", story, { temperature: 2, min_p: 0 }],
  ["temperature 1", "A dragon lived", { temperature: 1 }],
  ["top_k 1", count, { top_k: 1 }],
  ["top_k 5", story, { top_k: 5 }],
  ["top_k 200", story, { top_k: 200, min_p: 0 }],
  ["top_k above the shortcut's", story, { top_k: 500, min_p: 0 }],
  ["top_k off", story, { top_k: 0, min_p: 0 }],
  ["top_p", "The cat", { top_p: 0.7 }],
  ["top_p without top_k", "The cat", { top_p: 0.8, top_k: 0, min_p: 0 }],
  ["min_p", "My name is", { min_p: 0.2 }],
  ["min_p without top_k", "My name is", { min_p: 0.1, top_k: 0 }],
  ["typical_p", story, { typical_p: 0.6 }],
  ["typical_p without top_k", story, { typical_p: 0.7, top_k: 0, min_p: 0 }],
  ["top_n_sigma", "The wind is", { top_n_sigma: 1.5 }],
  ["xtc", story, { xtc_probability: 0.6, xtc_threshold: 0.1 }],
  ["xtc without top_k", story, { xtc_probability: 0.8, xtc_threshold: 0.05, top_k: 0 }],
  ["dynamic temperature", story, { temperature: 1.2, dynatemp_range: 0.8, dynatemp_exponent: 1.3 }],
  ["dynamic temperature around zero", "Hello", { temperature: 0, dynatemp_range: 1.5 }],
  ["repeat_penalty", refrain, { repeat_penalty: 1.4 }],
  ["repeat_penalty, greedy", refrain, { repeat_penalty: 1.3, temperature: 0 }],
  ["frequency_penalty", refrain, { frequency_penalty: 0.9 }],
  ["presence_penalty", refrain, { presence_penalty: 1.2 }],
  ["a short window", count, { repeat_penalty: 1.5, repeat_last_n: 4 }],
  ["negative penalties", count, { frequency_penalty: -0.4, presence_penalty: -0.5 }],
  ["penalties without top_k", refrain, { repeat_penalty: 1.2, frequency_penalty: 0.5, top_k: 0, min_p: 0 }],
  ["dry", refrain, { dry_multiplier: 1.5, dry_allowed_length: 1 }],
  ["dry, greedy", count, { dry_multiplier: 2, dry_base: 2, dry_allowed_length: 2, temperature: 0 }],
  ["dry with breakers", refrain, { dry_multiplier: 1, dry_penalty_last_n: 200, dry_sequence_breakers: [" and"] }],
  ["penalties and dry", refrain, { repeat_penalty: 1.1, presence_penalty: 0.3, dry_multiplier: 0.8, top_p: 0.9 }],
  ["mirostat 1", story, { mirostat: 1, mirostat_tau: 4, mirostat_eta: 0.2 }],
  ["mirostat 2", story, { mirostat: 2, mirostat_tau: 3, mirostat_eta: 0.2 }],
  [
    "logit_bias",
    story,
    {
      logit_bias: [
        [510, -8],
        [507, false],
        [97, 3],
      ],
    },
  ],
  ["ignore_eos", "Hello", { ignore_eos: true }],
  ["ignore_eos, greedy", "Hello", { ignore_eos: true, temperature: 0 }],
  [
    "samplers in another order",
    refrain,
    { samplers: ["temperature", "top_p", "penalties", "top_k"], top_p: 0.8, repeat_penalty: 1.3 },
  ],
  ["top_k first", refrain, { samplers: ["top_k", "penalties", "min_p", "temperature"], repeat_penalty: 1.3 }],
  ["without temperature", story, { samplers: ["top_k", "xtc"], xtc_probability: 0.5 }],
  [
    "everything",
    refrain,
    {
      repeat_penalty: 1.1,
      dry_multiplier: 0.5,
      typical_p: 0.95,
      top_p: 0.95,
      xtc_probability: 0.3,
      dynatemp_range: 0.2,
    },
  ],
  ["top_n_sigma without top_k", story, { top_n_sigma: 1.2, top_k: 0, min_p: 0 }],
  ["penalties over all of a long window", refrain, { repeat_penalty: 1.3, repeat_last_n: 500 }],
  ["a window of nothing", refrain, { repeat_penalty: 1.8, repeat_last_n: 0 }],
  ["dry over a short window", refrain, { dry_multiplier: 1.2, dry_allowed_length: 1, dry_penalty_last_n: 8 }],
  ["mirostat 1 with penalties", refrain, { mirostat: 1, mirostat_tau: 3, repeat_penalty: 1.5 }],
  ["mirostat 2 with logit_bias", story, { mirostat: 2, logit_bias: [[510, -6]] }],
  [
    "rare samplers in another order",
    refrain,
    {
      samplers: ["top_n_sigma", "xtc", "dry", "typ_p", "temperature", "min_p"],
      top_n_sigma: 2,
      xtc_probability: 0.4,
      dry_multiplier: 0.8,
      typical_p: 0.9,
    },
  ],
  ["log-probabilities", story, { n_probs: 5 }],
  ["log-probabilities with penalties", refrain, { n_probs: 3, repeat_penalty: 1.4 }],
];

const grammars: readonly (readonly [string, string, Record<string, unknown>])[] = [
  ["a choice", "Is the sky blue?", { grammar: 'root ::= "yes" | "no" | "may" "be"' }],
  ["digits", count, { grammar: "root ::= [0-9]{1,6}" }],
  ["words", story, { grammar: 'root ::= word (" " word)* "."\nword ::= [a-z]+' }],
  ["words, greedy", story, { grammar: 'root ::= word (" " word)* "."\nword ::= [a-z]+', temperature: 0 }],
  ["words without top_k", story, { grammar: 'root ::= word (" " word)* "."\nword ::= [a-z]+', top_k: 0, min_p: 0 }],
  ["words with mirostat", story, { grammar: 'root ::= word (" " word)* "."\nword ::= [a-z]+', mirostat: 2 }],
  ["words with typical_p and xtc", story, { grammar: "root ::= [a-z ]+", typical_p: 0.8, xtc_probability: 0.5 }],
  ["words with penalties", refrain, { grammar: 'root ::= (" the" | " cat" | " dog" | " and")+', repeat_penalty: 1.5 }],
  ["words with logit_bias", refrain, { grammar: 'root ::= (" the" | " cat" | " dog")+', logit_bias: [[510, -4]] }],
  ["words with dry", refrain, { grammar: 'root ::= (" the" | " cat" | " dog" | " and")+', dry_multiplier: 1 }],
  ["letters beyond ASCII", "Привет", { grammar: 'root ::= [а-яА-Я]{2,12} "!"' }],
  [
    "an ambiguous one",
    refrain,
    { grammar: 'root ::= (a | b)+\na ::= " the" | " the cat"\nb ::= " cat" | " the" " dog" | " and"' },
  ],
  [
    "an object",
    "A fox as JSON:",
    {
      grammar: 'root ::= "{" pair ("," pair)* "}"\npair ::= text ":" (text | [0-9]+)\ntext ::= "\\"" [a-z]{1,5} "\\""',
    },
  ],
  ["a token by its number", story, { grammar: "root ::= <[510]> !<[507]> [^x]*" }],
  ["log-probabilities with a grammar", count, { n_probs: 4, grammar: "root ::= [0-9, ]+" }],
];

export const samplingCases: readonly SamplingCase[] = [...samplers, ...grammars].map(([name, prompt, fields]) => ({
  name,
  prompt,
  fields: { ...defaults, ...fields },
}));

export type RecordedSample = {
  readonly name: string;
  readonly seed: number;
  readonly tokens: readonly number[];
  readonly text: string;
  /** Per token: itself and the most likely ones on which all servers agree, with their log-probabilities of one server. */
  readonly logprobs?: readonly (readonly (readonly [token: number, logprob: number])[])[];
  /** How far the servers, which round differently, are apart in them. */
  readonly spread?: number;
};

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const animal = {
  type: "object",
  properties: { name: { type: "string", maxLength: 12 }, legs: { type: "integer" }, wild: { type: "boolean" } },
  required: ["name", "legs", "wild"],
  additionalProperties: false,
};
const quiet = { chat_template_kwargs: { enable_thinking: false } };
const user = (content: string) => ({ messages: [{ role: "user", content }] });

/** For what a template makes of schemas and tools. Not for required calls: there ours is stricter by intent. */
export const chatCases: readonly { readonly name: string; readonly fields: Readonly<Record<string, unknown>> }[] = [
  ["a plain answer", { ...user("Who are you?"), ...quiet }],
  ["an answer with reasoning", { ...user("What is 5 plus 2?") }],
  ["a JSON object", { ...user("Describe a fox as JSON."), ...quiet, response_format: { type: "json_object" } }],
  ["JSON by a schema", { ...user("Describe a fox as JSON."), ...quiet, json_schema: animal }],
  ["JSON by a schema, greedy", { ...user("Describe a cow as JSON."), ...quiet, json_schema: animal, temperature: 0 }],
  ["tools, none forced", { ...user("What is the weather in Paris?"), ...quiet, tools: [weather] }],
  ["tools that nothing calls for", { ...user("Count to five."), ...quiet, tools: [weather] }],
].map(([name, fields]) => ({
  name: name as string,
  fields: { ...defaults, temperature: 1.2, max_tokens: 48, ...(fields as Record<string, unknown>) },
}));

export type RecordedChat = {
  readonly name: string;
  readonly seed: number;
  readonly message: {
    readonly content: string | null;
    readonly reasoning_content?: string;
    readonly calls?: readonly { readonly name: string; readonly arguments: string }[];
  };
};
