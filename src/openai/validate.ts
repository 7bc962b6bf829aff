// Runs a body through a schema and turns the first problem into the Failure that API.md section 3 asks for.
import type { z } from "zod";
import { catalogue, type Failure, type FailureKind } from "../errors.ts";
import type { Objection } from "./fields.ts";
import { clip, invalidValue, missing, outOfRange, wrongType } from "./refusals.ts";

export type JsonObject = Record<string, unknown>;
type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** A top-level null means "absent" (API.md section 2). */
export function withoutNulls(body: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

/** The valid form of a body. @throws Failure 400 that names the first field that is wrong */
export function validate<S extends z.ZodType>(schema: S, body: JsonObject): z.output<S> {
  const result = schema.safeParse(body, { reportInput: true });
  if (result.success) return result.data;
  throw refuse(result.error.issues, []);
}

/** `messages[3].content`; long names are cut. */
export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += `${text && "."}${clip(String(step), 32)}`;
  }
  return text;
}

function refuse(issues: readonly Issue[], above: Path): Failure {
  const issue = lastOfFirstPath(issues);
  const path = [...above, ...issue.path];
  const name = formatPath(path);
  switch (issue.code) {
    case "invalid_type":
      if (issue.input === undefined) return missing(name);
      if (issue.input === Infinity || issue.input === -Infinity) return refuseInfinity(issue.input, name);
      return wrongType(name, typeName(issue.expected), issue.input);
    case "invalid_union":
      return refuseUnion(issue, path);
    case "invalid_value":
      return refuseChoice(issue, name);
    case "too_small":
    case "too_big":
      return refuseRange(issue, name);
    case "custom": {
      const kind = (issue.params as { kind?: Objection["kind"] } | undefined)?.kind ?? "invalid_value";
      if (kind === "invalid_type") return wrongType(name, issue.message, issue.input);
      return kind === "invalid_value" ? invalidValue(name, issue.message) : outOfRange(kind, name, issue.message);
    }
    default:
      return invalidValue(name, issue.message);
  }
}

/** JSON like 1e400 is a number, and out of every range. */
function refuseInfinity(input: number, name: string): Failure {
  const kind = input > 0 ? "decimal_above_max_value" : "decimal_below_min_value";
  const bound = Math.sign(input) * Number.MAX_VALUE;
  return outOfRange(kind, name, `expected a value ${input > 0 ? "<=" : ">="} ${bound}, got ${input}`);
}

/** Not one of a few values: absent, of another type than all of them, or another value. */
function refuseChoice({ input, values }: z.core.$ZodIssueInvalidValue, name: string): Failure {
  if (input === undefined) return missing(name);
  if (values.every((value) => typeof value === "string") && typeof input !== "string") {
    return wrongType(name, "a string", input);
  }
  return invalidValue(name, `expected ${values.map((value) => `'${String(value)}'`).join(" or ")}`);
}

/** An integer beyond 2^53 violates two bounds; the field's own comes last. */
function lastOfFirstPath(issues: readonly Issue[]): Issue {
  const first = JSON.stringify(issues[0]!.path);
  let last = issues[0]!;
  for (const issue of issues) {
    if (JSON.stringify(issue.path) !== first) break;
    last = issue;
  }
  return last;
}

/** Descends into the alternative whose type the value has; when it has none of them, names all. */
function refuseUnion(issue: z.core.$ZodIssueInvalidUnion, path: Path): Failure {
  if (issue.input === undefined) return missing(formatPath(path));
  const expected: string[] = [];
  for (const alternative of issue.errors) {
    const [first] = alternative;
    if (!first) continue;
    if (first.path.length > 0) return refuse(alternative, path);
    if (first.code === "invalid_type") expected.push(typeName(first.expected));
    else if (first.code !== "invalid_value") return refuse(alternative, path);
    else if (typeof issue.input === "string" && typeof first.values[0] === "string") return refuse(alternative, path);
    else expected.push(first.values.map(String).join(" or "));
  }
  return wrongType(formatPath(path), expected.join(" or "), issue.input);
}

const typeNames: Readonly<Record<string, string>> = {
  int: "an integer",
  array: "an array",
  tuple: "an array",
  record: "an object",
  object: "an object",
};

function typeName(expected: string): string {
  return typeNames[expected] ?? `a ${expected}`;
}

const sizeKinds: Readonly<Record<string, { unit: string; too_small: FailureKind; too_big: FailureKind }>> = {
  string: { unit: "characters", too_small: "string_below_min_length", too_big: "string_above_max_length" },
  array: { unit: "items", too_small: "array_below_min_length", too_big: "array_above_max_length" },
};

type RangeIssue = z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig;

function refuseRange(issue: RangeIssue, name: string): Failure {
  const small = issue.code === "too_small";
  const bound = small ? issue.minimum : issue.maximum;
  const { origin, input } = issue;
  const size = sizeKinds[origin];
  if (size) {
    const { length } = input as { length: number };
    return outOfRange(
      size[issue.code],
      name,
      `expected at ${small ? "least" : "most"} ${bound} ${size.unit}, got ${length}`,
    );
  }
  const own = issue.message in catalogue ? (issue.message as FailureKind) : undefined;
  const kind = own ?? (small ? "integer_below_min_value" : "integer_above_max_value");
  return outOfRange(kind, name, `expected a value ${small ? ">=" : "<="} ${bound}, got ${String(input)}`);
}
