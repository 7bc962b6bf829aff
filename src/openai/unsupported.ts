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
  t_max_predict_ms: [0, -1],
  return_progress: [false],
};

const completionNotYet: Table = {
  ...samplingNotYet,
  logprobs: [],
  echo: [false],
  suffix: [],
  json_schema: [],
  n_probs: [0],
  verbose: [false],
  timings_per_token: [false],
};

/** For each route: what can never be served, then what cannot be served yet. */
export const unsupportedFields = {
  chat: { impossible, notYet: samplingNotYet },
  completions: { impossible, notYet: completionNotYet },
  messages: { impossible, notYet: {} },
  responses: { impossible: { ...impossible, prompt: [], background: [false] }, notYet: {} },
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
