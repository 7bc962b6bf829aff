// The kinds of values a variable can have: how its text is read and, for people, what is allowed. Knows no variable by name.
import { isIP } from "node:net";
import { resolve } from "node:path";
import { z } from "zod";

/** `schema` turns trimmed, non-empty text into the value; `allowed` completes the sentence "expected …". */
export type Kind<T> = { readonly schema: z.ZodType<T, string>; readonly allowed: string };

/** The longest wait a Node timer can hold; a longer one would fire at once. In seconds. */
const longestTimer = Math.floor((2 ** 31 - 1) / 1000);

const decimalPattern = /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

const withoutNul = z.string().refine((text) => !text.includes("\0"));

export const boolean: Kind<boolean> = {
  schema: z.stringbool({ truthy: ["true", "1", "yes", "on"], falsy: ["false", "0", "no", "off"] }),
  allowed: "true, 1, yes or on; false, 0, no or off",
};

/** Decimal digits only. Without `max`, up to the largest exact integer. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER): Kind<number> {
  const schema = z.string().regex(min < 0 ? /^-?\d+$/ : /^\d+$/);
  return {
    schema: schema.transform(Number).pipe(z.int().min(min).max(max)),
    allowed: max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`,
  };
}

export function integerOr<Word extends string>(word: Word, min: number, max: number): Kind<number | Word> {
  const number = integer(min, max);
  return { schema: z.union([z.literal(word), number.schema]), allowed: `${number.allowed}, or ${word}` };
}

export function decimal(min: number, max: number): Kind<number> {
  const schema = z.string().regex(decimalPattern);
  return {
    schema: schema.transform(Number).pipe(z.number().min(min).max(max)),
    allowed: `a number from ${min} to ${max}`,
  };
}

function secondsFrom(limit: z.ZodNumber, words: string): Kind<number> {
  const schema = z.string().regex(/^\d+(\.\d+)?$/);
  return {
    schema: schema.transform(Number).pipe(limit.max(longestTimer)),
    allowed: `seconds, ${words} and at most ${longestTimer}; a fraction is allowed`,
  };
}
export const positiveSeconds = secondsFrom(z.number().positive(), "more than 0");
export const seconds = (min: number): Kind<number> => secondsFrom(z.number().min(min), `at least ${min}`);

export function oneOf<const Words extends readonly [string, ...string[]]>(...words: Words): Kind<Words[number]> {
  return { schema: z.enum(words), allowed: words.join(", ") };
}

/** A path, made absolute against the working directory. */
export const path: Kind<string> = {
  schema: withoutNul.transform((text) => resolve(text)),
  allowed: "a path",
};

/** A path that cannot leave the folder it will be joined to. */
export const relativePath: Kind<string> = {
  schema: withoutNul.refine((text) => !text.startsWith("/") && !text.split("/").includes("..")),
  allowed: "a relative path without a leading / and without .. segments",
};

export const text: Kind<string> = { schema: z.string(), allowed: "text" };

/** What a client may be shown as a name: 1 to 128 characters without controls and line breaks. */
export const displayName: Kind<string> = {
  schema: z.string().regex(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]{1,128}$/u),
  allowed: "1 to 128 printable characters",
};

/** Text that becomes part of a file name: whatever is `unsafe` turns into `_`, as do leading dots. */
function fileNamePart(unsafe: RegExp): Kind<string> {
  const clean = (value: string): string =>
    value.replace(unsafe, "_").replace(/^\.+/, (dots) => "_".repeat(dots.length));
  return { schema: z.string().transform(clean), allowed: "text" };
}

export const logName = fileNamePart(/[^A-Za-z0-9_.-]/g);
export const workerType = fileNamePart(/[^A-Za-z0-9_-]/g);
export const instanceId = fileNamePart(/[^A-Za-z0-9._-]/g);

/** Comma-separated; parts are trimmed, empty parts left out. */
export const list: Kind<readonly string[]> = {
  schema: z.string().transform((value) =>
    value
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean),
  ),
  allowed: "a comma-separated list",
};

export type LoraAdapter = { readonly path: string; readonly scale: number };

function parseLora(part: string): { path: string; scale: number } {
  const at = part.lastIndexOf("=");
  const scale = part.slice(at + 1).trim();
  // A file name may hold "=" itself: only a number after the last one is a scale.
  if (at < 1 || !decimalPattern.test(scale)) return { path: resolve(part), scale: 1 };
  return { path: resolve(part.slice(0, at).trim()), scale: Number(scale) };
}

export const loraAdapters: Kind<readonly LoraAdapter[]> = {
  schema: list.schema
    .transform((parts) => parts.map(parseLora))
    .pipe(z.array(z.object({ path: withoutNul, scale: z.number().min(-10).max(10) }))),
  allowed: "a comma-separated list of path or path=scale, scale from -10 to 10",
};

const hostNamePattern = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/;

export const address: Kind<string> = {
  // Four dotted numbers that are no IP address are a typing error, not a host name.
  schema: z.string().refine((host) => isIP(host) > 0 || (hostNamePattern.test(host) && !/^[\d.]+$/.test(host))),
  allowed: "an IP address or host name",
};

const redisUrlPattern = /^rediss?:\/\/[^\s/]/;

export const redisUrl: Kind<string> = {
  schema: z.string().refine((url) => redisUrlPattern.test(url) && URL.canParse(url)),
  allowed: "redis://… or rediss://…",
};
