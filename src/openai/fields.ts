// Building blocks of the request schemas whose refusals carry the exact codes of API.md section 3. Knows no field by name.
// What a check of our own asks for is written beside it for the OpenAPI document (meta).
import { z } from "zod";
import type { FailureKind } from "../errors.ts";

/** The message of a range check is the failure's code; validate.ts makes the sentence. */
const code = (kind: FailureKind): string => kind;

export function integer(min: number, max: number): z.ZodInt {
  return z.int().min(min, code("integer_below_min_value")).max(max, code("integer_above_max_value"));
}

export function decimal(min: number, max: number): z.ZodNumber {
  return z.number().min(min, code("decimal_below_min_value")).max(max, code("decimal_above_max_value"));
}

/**
 * What a custom check reports. `rule` completes "Invalid '<path>': …" or, for invalid_value, "Invalid value for '<path>': …"; for
 * invalid_type it is what is expected.
 */
export type Objection = { readonly kind: FailureKind; readonly rule: string };

/** The schema, and a check of our own that tells its objection by code. */
export function checked<S extends z.ZodType>(schema: S, check: (value: z.output<S>) => Objection | undefined): S {
  return schema.superRefine((value, context) => {
    const objection = check(value);
    if (objection) context.addIssue({ code: "custom", message: objection.rule, params: { kind: objection.kind } });
  });
}

/** A string of `min` to `max` UTF-8 bytes. */
export function bytes(min: number, max: number): z.ZodString {
  return checked(z.string(), (text) => {
    const length = Buffer.byteLength(text);
    if (length < min) return { kind: "string_below_min_length", rule: `expected at least ${min} bytes, got ${length}` };
    if (length > max) return { kind: "string_above_max_length", rule: `expected at most ${max} bytes, got ${length}` };
    return undefined;
  }).meta({ minLength: Math.min(min, 1), maxLength: max });
}

/** An object of any names with at most `max` members. */
export function members<V extends z.ZodType>(value: V, max: number): z.ZodRecord<z.ZodString, V> {
  return checked(z.record(z.string(), value), (object) => {
    const count = Object.keys(object).length;
    if (count <= max) return undefined;
    return { kind: "object_above_max_properties", rule: `expected at most ${max} members, got ${count}` };
  }).meta({ maxProperties: max });
}

export function matching(pattern: RegExp, rule: string): z.ZodString {
  return checked(z.string(), (text) => (pattern.test(text) ? undefined : { kind: "invalid_value", rule })).meta({
    pattern: pattern.source,
  });
}
