// Decides whether a JSON schema can be enforced, before llama.cpp's converter sees it: that one drops most keywords without a word.
// Gives back a schema of the same or stricter meaning that the converter expresses exactly (API.md section 6.4).
import { Failure } from "../errors.ts";
import { clip } from "./refusals.ts";
import { refuseAmbiguous } from "./schema-ambiguity.ts";
import { SchemaProblem, SchemaTotal } from "./schema-bounds.ts";
import { refuseEndless } from "./schema-recursion.ts";
import { SchemaWalk } from "./schema-walk.ts";
import type { JsonObject } from "./validate.ts";

export type SchemaOptions = {
  /** False: what cannot be enforced is dropped and told instead of refused, as for a function without `strict`. */
  readonly strict: boolean;
  /** The kind of the refusal. Default invalid_json_schema. */
  readonly failure?: "invalid_json_schema" | "invalid_function_parameters";
  /** True: nothing but objects may be described. Default false. */
  readonly object?: boolean;
  /** Shared by all schemas of one request, where there can be several. */
  readonly total?: SchemaTotal;
};

export type CheckedSchema = {
  /** For the engine: as ChatPrompt.jsonSchema or ChatTool.parameters. */
  readonly schema: JsonObject;
  /** Keywords that are not enforced, each once; empty when strict. */
  readonly dropped: readonly string[];
  /** Nothing of the schema is enforced: `schema` is any object. Never when strict. */
  readonly replaced: boolean;
};

const longestPath = 1024;

/** Describes any JSON object. */
export const anyObject: JsonObject = { type: "object" };

/**
 * Takes time in proportion to the schema's size, whatever it holds.
 * @param schema parsed JSON; absent or `{}` describes any object
 * @param param where it stands in the body
 * @throws Failure invalid_json_schema (or `failure`) with `schema_path`, schema_too_complex; without `strict` none
 */
export function checkSchema(schema: JsonObject | undefined, param: string, options: SchemaOptions): CheckedSchema {
  if (!schema || Object.keys(schema).length === 0) return { schema: anyObject, dropped: [], replaced: false };
  const total = options.total ?? new SchemaTotal();
  const walk = new SchemaWalk(schema, options.strict, total);
  try {
    const checked = walk.run();
    refuseEndless(checked);
    refuseAmbiguous(checked, total);
    if (options.object && checked.type !== "object")
      throw new SchemaProblem("unsupported", "#", "an object is expected");
    return { schema: checked, dropped: [...walk.dropped], replaced: false };
  } catch (error) {
    if (!(error instanceof SchemaProblem)) throw error;
    if (options.strict) throw toFailure(error, param, options.failure ?? "invalid_json_schema");
    return { schema: anyObject, dropped: [], replaced: true };
  }
}

function toFailure(problem: SchemaProblem, param: string, kind: "invalid_json_schema" | "invalid_function_parameters") {
  const at = clip(problem.pointer);
  const extra = { schema_path: problem.pointer.slice(0, longestPath) };
  if (problem.kind === "too_complex") {
    return new Failure("schema_too_complex", `${problem.message} exceeded at ${at}.`, { param, extra });
  }
  return new Failure(kind, `Unsupported at ${at}: ${problem.message}.`, { param, extra });
}
