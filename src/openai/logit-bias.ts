// logit_bias in its two forms -> [token id, bias] pairs inside the vocabulary. Text keys bias each of their tokens.
import { z } from "zod";
import type { Engine, Sampling } from "../engine/engine.ts";
import { decimal, members } from "./fields.ts";
import { invalidValue } from "./refusals.ts";
import { formatPath } from "./validate.ts";

const maxEntries = 1024;

const bias = z.union([decimal(-100, 100), z.literal(false)]);

/** `{"<id or text>": bias}` or `[[id or text, bias]]`. */
export const logitBiasField = z.union([
  members(bias, maxEntries),
  z.array(z.tuple([z.union([z.int(), z.string()]), bias])).max(maxEntries),
]);

export type LogitBiasEntry = {
  /** A token id, or text that stands for its tokens. */
  readonly token: number | string;
  /** -Infinity = never. */
  readonly bias: number;
  /** Where it stands in the body. */
  readonly path: string;
};

const decimalDigits = /^-?\d+$/;

export function toEntries(field: z.output<typeof logitBiasField>): LogitBiasEntry[] {
  if (Array.isArray(field)) {
    return field.map(([token, value], index) => ({ token, bias: biasOf(value), path: `logit_bias[${index}][0]` }));
  }
  return Object.entries(field).map(([name, value]) => ({
    token: decimalDigits.test(name) ? Number(name) : name,
    bias: biasOf(value),
    path: formatPath(["logit_bias", name]),
  }));
}

function biasOf(value: number | false): number {
  return value === false ? Number.NEGATIVE_INFINITY : value;
}

/** The last entry for a token wins. @throws Failure invalid_value for an id outside the vocabulary */
export async function resolveLogitBias(
  entries: readonly LogitBiasEntry[],
  { model, tokenize }: { model: Engine["model"]; tokenize: (text: string) => Promise<Int32Array> },
): Promise<Sampling["logitBias"]> {
  const biases = new Map<number, number>();
  for (const { token, bias, path } of entries) {
    if (typeof token === "string") {
      for (const id of distinct(await tokenize(token), model.vocabSize)) biases.set(id, bias);
    } else {
      checkTokenId(token, model.vocabSize, path);
      biases.set(token, bias);
    }
  }
  return [...biases];
}

/** A text of megabytes has few tokens of the vocabulary, each many times over. */
function distinct(tokens: Int32Array, vocabSize: number): Iterable<number> {
  if (tokens.length < vocabSize) return tokens;
  const present = new Uint8Array(vocabSize);
  for (let index = 0; index < tokens.length; index++) present[tokens[index]!] = 1;
  return Array.from(present.keys()).filter((id) => present[id] === 1);
}

export const isTokenId = (value: unknown, vocabSize: number): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < vocabSize;

/** @throws Failure invalid_value */
export function checkTokenId(token: number, vocabSize: number, path: string): void {
  if (isTokenId(token, vocabSize)) return;
  throw invalidValue(path, `expected a token id from 0 to ${vocabSize - 1}, got ${token}`);
}
