// Fields that are known and refused, because they can never work here.
import { isDeepStrictEqual } from "node:util";
import { unsupported } from "./refusals.ts";
import type { JsonObject } from "./validate.ts";

/** A refused field and the values of it that ask for nothing, which pass. */
type Table = Readonly<Record<string, readonly unknown[]>>;

/** API.md section 2, class 3. */
export const impossible: Table = {
  audio: [],
  modalities: [["text"], []],
  store: [false],
  previous_response_id: [],
  conversation: [],
  truncation: ["disabled"],
  web_search_options: [],
  moderation: [],
  functions: [],
  function_call: [],
};

/** What to send in place of a field. */
const instead: Readonly<Record<string, string>> = {
  functions: "use 'tools'",
  function_call: "use 'tools' and 'tool_choice'",
};

/** Of Responses. */
export const impossibleInResponses: Table = { ...impossible, prompt: [], background: [false] };

/** @param body without top-level nulls. @throws Failure unsupported_parameter */
export function refuseUnsupported(body: JsonObject, table: Table): void {
  for (const [name, harmless] of Object.entries(table)) {
    if (!Object.hasOwn(body, name)) continue;
    if (!harmless.some((value) => isDeepStrictEqual(value, body[name])))
      throw unsupported("unsupported_parameter", name, instead[name] ?? "it cannot be served here");
  }
}
