// A field that holds one or more texts, each of them also as token ids or as both mixed: the prompts of a completion, the inputs of
// an embedding. Looks at the form only; tokenises nothing.
import { checkTokenId, isTokenId } from "./logit-bias.ts";
import { missing, outOfRange, wrongType } from "./refusals.ts";

/** Text and token ids in the order they are to be read. */
export type PromptPiece = string | number;

export type PromptField = {
  /** The field's name, for refusals. */
  readonly name: string;
  /** Most texts of one request. */
  readonly most: number;
  readonly vocabSize: number;
};

export type ParsedPrompts = {
  /** At least one, of at least one piece each. */
  readonly prompts: readonly (readonly PromptPiece[])[];
  /** The field is an array of them: number i stands at `name[i]`, otherwise the only one at `name`. */
  readonly listed: boolean;
};

/**
 * A number among the items means one text of mixed pieces; otherwise each item is a text.
 * @throws Failure 400 naming the item
 */
export function parsePrompts(value: unknown, field: PromptField): ParsedPrompts {
  const { name, most, vocabSize } = field;
  if (value === undefined) throw missing(name);
  if (typeof value === "string") return { prompts: [[value]], listed: false };
  if (!Array.isArray(value)) throw wrongType(name, "a string or an array", value);
  if (value.length === 0) throw tooShort(name);
  const isOne = value.some((item) => typeof item === "number") && !value.some(Array.isArray);
  if (isOne) return { prompts: [toPieces(value, name, vocabSize)], listed: false };
  if (value.length > most) {
    throw outOfRange("array_above_max_length", name, `expected at most ${most} items, got ${value.length}`);
  }
  const prompts = value.map((item: unknown, index) => {
    const path = `${name}[${index}]`;
    if (typeof item === "string") return [item];
    if (!Array.isArray(item)) throw wrongType(path, "a string or an array", item);
    return toPieces(item, path, vocabSize);
  });
  return { prompts, listed: true };
}

/** @throws Failure 400 naming the piece */
export function toPieces(items: readonly unknown[], path: string, vocabSize: number): PromptPiece[] {
  if (items.length === 0) throw tooShort(path);
  for (const [index, item] of items.entries()) {
    if (typeof item === "string" || isTokenId(item, vocabSize)) continue;
    if (!Number.isInteger(item)) throw wrongType(`${path}[${index}]`, "an integer or a string", item);
    checkTokenId(item as number, vocabSize, `${path}[${index}]`);
  }
  return items as PromptPiece[];
}

function tooShort(path: string) {
  return outOfRange("array_below_min_length", path, "expected at least 1 items, got 0");
}
