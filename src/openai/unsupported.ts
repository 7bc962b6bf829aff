// Fields that are known and refused: those that can never work here, and those whose time has not come. To support a field,
// delete its line and put it into the schema.
import { isDeepStrictEqual } from "node:util";
import { unsupported } from "./refusals.ts";
import type { JsonObject } from "./validate.ts";

/** A refused field and the values of it that ask for nothing, which pass. */
type Table = Readonly<Record<string, readonly unknown[]>>;

/** API.md section 2, class 3. */
const impossible: Table = {
  audio: [],
  modalities: [["text"], []],
  store: [false],
  previous_response_id: [],
  conversation: [],
  truncation: ["disabled"],
  web_search_options: [],
  moderation: [],
  functions: [[]],
  function_call: ["none"],
};

const samplingNotYet: Table = {
  typical_p: [1],
  top_n_sigma: [-1],
  dynatemp_range: [0],
  dynatemp_exponent: [1],
  xtc_probability: [0],
  xtc_threshold: [0.1],
  dry_multiplier: [0],
  dry_base: [1.75],
  dry_allowed_length: [2],
  dry_penalty_last_n: [64],
  dry_sequence_breakers: [["\n", ":", '"', "*"]],
  mirostat: [0],
  mirostat_tau: [5],
  mirostat_eta: [0.1],
  samplers: [],
  ignore_eos: [false],
  grammar: [],
  json_schema: [],
  n_probs: [0],
  cache_prompt: [true],
  t_max_predict_ms: [0, -1],
  lora: [[]],
  timings_per_token: [false],
  verbose: [false],
  return_progress: [false],
};

const chatNotYet: Table = {
  ...samplingNotYet,
  tools: [[]],
  tool_choice: ["none", "auto"],
  parallel_tool_calls: [true, false],
  response_format: [{ type: "text" }],
  logprobs: [false],
  top_logprobs: [],
  reasoning_effort: [],
  thinking_budget_tokens: [-1],
  reasoning_budget_tokens: [-1],
  reasoning_budget_message: [],
  reasoning_format: ["auto"],
  chat_template_kwargs: [{}],
  add_generation_prompt: [true],
  continue_final_message: [false],
};

const completionNotYet: Table = { ...samplingNotYet, logprobs: [], echo: [false], suffix: [] };

/** For each route: what can never be served, then what cannot be served yet. */
export const unsupportedFields = {
  chat: { impossible, notYet: chatNotYet },
  completions: { impossible, notYet: completionNotYet },
} as const;

/** @param body without top-level nulls. @throws Failure unsupported_parameter */
export function refuseUnsupported(body: JsonObject, tables: { impossible: Table; notYet: Table }): void {
  refuse(body, tables.impossible, "it cannot be served here");
  refuse(body, tables.notYet, "it is not implemented yet");
}

function refuse(body: JsonObject, table: Table, why: string): void {
  for (const [name, harmless] of Object.entries(table)) {
    if (!Object.hasOwn(body, name)) continue;
    if (!harmless.some((value) => isDeepStrictEqual(value, body[name])))
      throw unsupported("unsupported_parameter", name, why);
  }
}
