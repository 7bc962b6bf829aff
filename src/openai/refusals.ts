// The sentences in which a field is refused (API.md section 3), one function for each form. Decides nothing itself.
import { Failure, type FailureKind } from "../errors.ts";

/** Most characters of the caller's own text in one message. */
const maxQuoted = 64;

/** Text fit to be quoted in a message: at most `max` characters, no half character. */
export function clip(text: string, max = maxQuoted): string {
  if (text.length <= max) return text;
  return `${[...text.slice(0, max * 2)].slice(0, max - 1).join("")}…`;
}

export function missing(path: string): Failure {
  return new Failure("missing_required_parameter", `Missing required parameter: '${path}'.`, { param: path });
}

/** @param expected completes "expected …", for example "a string" */
export function wrongType(path: string, expected: string, got: unknown): Failure {
  const message = `Invalid type for '${path}': expected ${expected}, got ${describeType(got)}.`;
  return new Failure("invalid_type", message, { param: path });
}

/** A number or size out of its range. @param rule for example "expected a value >= 1, got 0" */
export function outOfRange(kind: FailureKind, path: string, rule: string): Failure {
  return new Failure(kind, `Invalid '${path}': ${rule}.`, { param: path });
}

/** @param rule for example "expected 'user' or 'assistant'" */
export function invalidValue(path: string, rule: string): Failure {
  return new Failure("invalid_value", `Invalid value for '${path}': ${rule}.`, { param: path });
}

/** @param why one clause, without a full stop */
export function unsupported(kind: "unsupported_parameter" | "unsupported_value", path: string, why: string): Failure {
  return new Failure(kind, `'${path}' is not supported by this server: ${why}.`, { param: path });
}

/** @param what completes "The served model cannot …" */
export function unsupportedModel(what: string): Failure {
  return new Failure("unsupported_model", `The served model cannot ${what}.`, { param: "model" });
}

function describeType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "number") return Number.isInteger(value) ? "an integer" : "a decimal number";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
