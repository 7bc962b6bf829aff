// Prompts for models that can fill in the middle: the fields of such a request as the model's own tokens mark them.
import type { Engine, FimTokens } from "../engine/engine.ts";
import { unsupportedModel } from "../openai/refusals.ts";

export type Middle = { readonly prefix: string; readonly suffix: string };

/** Another text of the same project. */
export type ExtraText = { readonly text: string; readonly filename?: string | null | undefined };

/** @throws Failure unsupported_model */
export function fimTokens({ model }: Engine): FimTokens {
  if (!model.fim) throw unsupportedModel("fill in the middle");
  return model.fim;
}

/** Prefix, suffix, then the place where the middle begins. @throws Failure unsupported_model */
export async function middlePrompt(engine: Engine, { prefix, suffix }: Middle): Promise<Int32Array> {
  const { prefix: before, suffix: after, middle } = fimTokens(engine);
  return join(engine, [begin, [before], prefix, [after], suffix, [middle]]);
}

/**
 * The same after other texts, token for token as llama-server writes it, which also gives the project and the file at hand names of
 * its own.
 * @param begun what the middle already begins with, right behind the prefix; special tokens in it count as such
 * @throws Failure unsupported_model
 */
export async function infillPrompt(
  engine: Engine,
  { prefix, suffix, begun, extra }: Middle & { readonly begun: string; readonly extra: readonly ExtraText[] },
): Promise<Int32Array> {
  const { prefix: before, suffix: after, middle, repository, file } = fimTokens(engine);
  const parts: Part[] = [];
  if (repository >= 0) parts.push([repository], "myproject\n");
  for (const { text, filename } of extra) {
    if (file >= 0) parts.push([file], `${filename ?? "tmp"}\n`, text);
    else parts.push("\n\n--- snippet ---\n\n", text);
  }
  if (file >= 0) parts.push([file], "filename\n");
  return join(engine, [...parts, begin, [before], prefix, { special: begun }, [after], suffix, [middle]]);
}

/** What the model wants before every prompt. */
const begin = Symbol("begin of text");

/** Tokens, a text, or one whose special tokens count as such. */
type Part = readonly number[] | string | { readonly special: string } | typeof begin;

async function join(engine: Engine, parts: readonly Part[]): Promise<Int32Array> {
  const tokenized = await Promise.all(parts.map((part) => tokensOf(engine, part)));
  const joined = new Int32Array(tokenized.reduce((length, tokens) => length + tokens.length, 0));
  let at = 0;
  for (const tokens of tokenized) {
    joined.set(tokens, at);
    at += tokens.length;
  }
  return joined;
}

async function tokensOf(engine: Engine, part: Part): Promise<ArrayLike<number>> {
  if (part === begin) return engine.tokenize("", true, false);
  if (typeof part === "string") return engine.tokenize(part, false, false);
  return "special" in part ? engine.tokenize(part.special, false, true) : part;
}
