// Text and token ids in one row -> the tokens a model reads.
import type { Engine } from "../engine/engine.ts";
import type { PromptPiece } from "../openai/prompt-pieces.ts";
import { invalidValue } from "../openai/refusals.ts";

export type Pieces = {
  readonly pieces: readonly PromptPiece[];
  /** Put the special tokens that the model wants around a text that comes first; token ids are taken as they are. */
  readonly addSpecial: boolean;
  readonly parseSpecial: boolean;
};

export async function tokensOf(model: Pick<Engine, "tokenize">, request: Pieces): Promise<Int32Array> {
  const { pieces, addSpecial, parseSpecial } = request;
  const [first] = pieces;
  if (pieces.length === 1 && typeof first === "string") return model.tokenize(first, addSpecial, parseSpecial);
  if (pieces.every((piece) => typeof piece === "number")) return new Int32Array(pieces);
  const tokens: number[] = [];
  for (const [index, piece] of pieces.entries()) {
    if (typeof piece === "number") tokens.push(piece);
    else for (const token of await model.tokenize(piece, addSpecial && index === 0, parseSpecial)) tokens.push(token);
  }
  return new Int32Array(tokens);
}

/** The tokens of a text a model is to work on. @param path where it stands. @throws Failure invalid_value when there are none */
export async function tokenizePieces(
  model: Pick<Engine, "tokenize">,
  pieces: readonly PromptPiece[],
  path: string,
): Promise<Int32Array> {
  const tokens = await tokensOf(model, { pieces, addSpecial: true, parseSpecial: true });
  if (tokens.length === 0) throw invalidValue(path, "it came to no tokens; this model puts none before a text");
  return tokens;
}

/** How many special tokens the model puts before a text that comes first: 0 or 1. */
export async function addedBefore(model: Pick<Engine, "tokenize">, [first]: readonly PromptPiece[]): Promise<number> {
  if (typeof first !== "string") return 0;
  const [all, own] = await Promise.all([model.tokenize(first, true, true), model.tokenize(first, false, true)]);
  return all.length > own.length && own.every((token, index) => token === all[index + 1]) ? 1 : 0;
}

export function textOf(model: Pick<Engine, "detokenize">, tokens: Int32Array): string {
  return Buffer.from(model.detokenize(tokens)).toString();
}
