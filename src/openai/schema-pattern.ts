// Regular expressions of `pattern` -> ones that llama.cpp's converter turns into exactly the same strings. It copies most of a
// pattern into the grammar as it stands, so a dot would match the closing quote of the JSON string. Refuses what is not regular.

import { type SchemaBounds, SchemaProblem } from "./schema-bounds.ts";
import {
  type CodeRange,
  complement,
  dot,
  escapeClasses,
  inJsonString,
  jsonEscape,
  toClass,
} from "./schema-characters.ts";

const mostCharacters = 512;
const mostGroups = 32;
const endless = Number.POSITIVE_INFINITY;

/** A piece of the rewritten pattern. */
type Piece = {
  readonly text: string;
  /** It matches the empty string. */
  readonly empty: boolean;
  /** In how many places of it one text may be at once, at most: counted repetitions multiply it. 0: its length is fixed. */
  readonly readings: number;
};

const mostReadings = 256;

/**
 * @param pattern of JavaScript's `u` flavour, as JSON Schema wants it
 * @returns a pattern for the converter whose strings all match `pattern`; undefined when only the empty string does
 * @throws SchemaProblem
 */
export function rewritePattern(pattern: string, pointer: string, bounds: SchemaBounds): string | undefined {
  if (pattern.length > mostCharacters) {
    throw new SchemaProblem("too_complex", pointer, `The pattern length of ${mostCharacters}`);
  }
  bounds.pattern(pattern, pointer);
  expectRegExp(pattern, pointer);
  if (!/^\^.*\$$/su.test(pattern) || /(^|[^\\])(\\\\)*\\\$$/su.test(pattern)) {
    throw refused(pointer, "it must begin with ^ and end with $");
  }
  const { text } = new PatternReader(pattern.slice(1, -1), pointer, bounds).read();
  return text === "" ? undefined : `^${text}$`;
}

function refused(pointer: string, why: string): SchemaProblem {
  return new SchemaProblem("unsupported", pointer, why);
}

/** Compiles it without running it. */
function expectRegExp(pattern: string, pointer: string): void {
  try {
    new RegExp(pattern, "u");
  } catch (error) {
    if (error instanceof SyntaxError) throw refused(pointer, "it is not a regular expression");
    throw error;
  }
}

/** Reads a pattern that is known to be valid; what remains to be refused is what is valid but not regular. */
class PatternReader {
  readonly #characters: readonly string[];
  readonly #pointer: string;
  readonly #bounds: SchemaBounds;
  #at = 0;
  #groups = 0;
  /** By their text. */
  readonly #classes = new Map<string, Piece>();

  constructor(pattern: string, pointer: string, bounds: SchemaBounds) {
    this.#characters = [...pattern];
    this.#pointer = pointer;
    this.#bounds = bounds;
  }

  read(): Piece {
    const piece = this.#alternatives();
    if (this.#at < this.#characters.length) throw this.#refused("its anchors do not enclose all of it");
    return piece;
  }

  #refused(why: string): SchemaProblem {
    return refused(this.#pointer, why);
  }

  #next(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(): string {
    return this.#characters[this.#at++] ?? "";
  }

  #takeIf(character: string): boolean {
    if (this.#next() !== character) return false;
    this.#at += 1;
    return true;
  }

  #alternatives(): Piece {
    const all = [this.#sequence()];
    while (this.#takeIf("|")) all.push(this.#sequence());
    const texts = all.map(({ text }) => text).filter((text) => text !== "");
    const empty = all.some((piece) => piece.empty);
    const readings = all.length === 1 ? all[0]!.readings : all.reduce((sum, piece) => sum + piece.readings, 1);
    if (texts.length === 0) return { text: "", empty, readings };
    // The converter has no alternative without text: it becomes "or nothing".
    if (texts.length < all.length) return { text: `(?:${texts.join("|")})?`, empty, readings };
    return { text: texts.length > 1 ? `(?:${texts.join("|")})` : texts[0]!, empty, readings };
  }

  #sequence(): Piece {
    let text = "";
    let empty = true;
    let readings = 0;
    for (let next = this.#next(); next !== undefined && next !== "|" && next !== ")"; next = this.#next()) {
      const piece = this.#quantified(this.#atom());
      text += piece.text;
      empty &&= piece.empty;
      readings = Math.max(readings, piece.readings);
    }
    return { text, empty, readings };
  }

  #quantified(atom: Piece): Piece {
    const [least, most] = this.#quantifier() ?? [1, 1];
    if (most === 0 || atom.text === "") return { text: "", empty: true, readings: 0 };
    if (least === 1 && most === 1) return atom;
    // Several ways to repeat nothing would never end.
    if (atom.empty && most > 1) throw this.#refused("it repeats a part that may be empty");
    this.#bounds.repetition(most === endless ? least : most, this.#pointer);
    const counted = most === endless ? Math.max(least, 1) : most;
    const readings = Math.max(atom.readings * counted, least === most ? 0 : 1);
    if (readings > mostReadings) {
      throw new SchemaProblem("too_complex", this.#pointer, `The bound of ${mostReadings} on nested repetitions`);
    }
    return { text: `(?:${atom.text})${quantifierSign(least, most)}`, empty: atom.empty || least === 0, readings };
  }

  #quantifier(): [least: number, most: number] | undefined {
    const sign = this.#next();
    const found = simpleQuantifiers.get(sign ?? "") ?? (sign === "{" ? this.#counted() : undefined);
    if (!found) return undefined;
    this.#at += 1;
    this.#takeIf("?"); // A lazy quantifier matches the same strings.
    return found;
  }

  /** Leaves the closing brace to be taken. */
  #counted(): [number, number] {
    const end = this.#characters.indexOf("}", this.#at);
    const [least, most = least] = this.#characters
      .slice(this.#at + 1, end)
      .join("")
      .split(",");
    this.#at = end;
    return [Number(least), most === "" ? endless : Number(most)];
  }

  #atom(): Piece {
    const character = this.#take();
    if (character === "(") return this.#group();
    if (character === "[") return this.#knownClass();
    if (character === ".") return namedCharacters(dot);
    if (character === "^" || character === "$") throw this.#refused("it has an anchor inside");
    if (character !== "\\") return literal(character.codePointAt(0)!);
    const named = escapeClasses.get(this.#next() ?? "");
    if (!named) return literal(this.#escaped());
    this.#at += 1;
    return namedCharacters(named);
  }

  #group(): Piece {
    if (this.#takeIf("?") && !this.#takeIf(":")) throw this.#refused("only plain groups are supported");
    this.#groups += 1;
    if (this.#groups > mostGroups) throw this.#refused(`it has more than ${mostGroups} groups`);
    const inner = this.#alternatives();
    this.#at += 1;
    return inner.text === "" ? inner : { ...inner, text: `(?:${inner.text})` };
  }

  #knownClass(): Piece {
    const begin = this.#at;
    const ranges = this.#class();
    const text = this.#characters.slice(begin, this.#at).join("");
    const piece = this.#classes.get(text) ?? this.#classOf(ranges);
    this.#classes.set(text, piece);
    return piece;
  }

  #class(): readonly CodeRange[] {
    const negated = this.#takeIf("^");
    const ranges: CodeRange[] = [];
    while (!this.#takeIf("]")) {
      const named = this.#next() === "\\" ? escapeClasses.get(this.#characters[this.#at + 1] ?? "") : undefined;
      if (named) {
        this.#at += 2;
        ranges.push(...named);
      } else ranges.push(this.#classRange());
    }
    return negated ? complement(ranges) : ranges;
  }

  #classOf(all: readonly CodeRange[]): Piece {
    if (inJsonString(all).length > 0) return characters(all);
    const escapes = all.flatMap(([from, to]) =>
      Array.from({ length: Math.min(to - from, 64) + 1 }, (_, i) => from + i),
    );
    if (escapes.length === 0) throw this.#refused("it has a class without characters");
    return { text: `(?:${escapes.map((code) => literal(code).text).join("|")})`, empty: false, readings: 0 };
  }

  #classRange(): CodeRange {
    const from = this.#classCode();
    if (this.#next() !== "-" || this.#characters[this.#at + 1] === "]") return [from, from];
    this.#at += 1;
    return [from, this.#classCode()];
  }

  #classCode(): number {
    const character = this.#take();
    if (character !== "\\") return character.codePointAt(0)!;
    if (this.#takeIf("b")) return 8;
    return this.#escaped();
  }

  /** The code point of an escape, without its backslash. */
  #escaped(): number {
    const character = this.#take();
    const control = controlEscapes.get(character);
    if (control !== undefined) return control;
    if (character === "x") return this.#hex(2);
    if (character === "u") return this.#unicode();
    if (/[\^$\\.*+?()[\]{}|/-]/.test(character)) return character.codePointAt(0)!;
    throw this.#refused(`the escape \\${character} is not supported`);
  }

  #unicode(): number {
    if (this.#takeIf("{")) {
      const end = this.#characters.indexOf("}", this.#at);
      const digits = this.#characters.slice(this.#at, end).join("");
      this.#at = end + 1;
      return Number.parseInt(digits, 16);
    }
    const high = this.#hex(4);
    const isPair = high >= 0xd800 && high < 0xdc00 && this.#next() === "\\" && this.#characters[this.#at + 1] === "u";
    if (high >= 0xd800 && high < 0xe000 && !isPair) throw this.#refused("it has half a surrogate pair");
    if (!isPair) return high;
    this.#at += 2;
    return (high - 0xd800) * 0x400 + (this.#hex(4) - 0xdc00) + 0x10000;
  }

  #hex(digits: number): number {
    const text = this.#characters.slice(this.#at, this.#at + digits).join("");
    this.#at += digits;
    return Number.parseInt(text, 16);
  }
}

const simpleQuantifiers: ReadonlyMap<string, [number, number]> = new Map([
  ["*", [0, endless]],
  ["+", [1, endless]],
  ["?", [0, 1]],
]);

function quantifierSign(least: number, most: number): string {
  if (most === endless) return least === 0 ? "*" : least === 1 ? "+" : `{${least},}`;
  return least === 0 && most === 1 ? "?" : `{${least},${most}}`;
}

const controlEscapes: ReadonlyMap<string, number> = new Map([
  ["t", 9],
  ["n", 10],
  ["v", 11],
  ["f", 12],
  ["r", 13],
  ["0", 0],
]);

/** Of the classes that have a name, by their ranges. */
const written = new WeakMap<readonly CodeRange[], Piece>();

function characters(ranges: readonly CodeRange[]): Piece {
  return { text: toClass(inJsonString(ranges)), empty: false, readings: 0 };
}

function namedCharacters(ranges: readonly CodeRange[]): Piece {
  const piece = written.get(ranges) ?? characters(ranges);
  written.set(ranges, piece);
  return piece;
}

/** One character as it stands in a JSON string. */
function literal(code: number): Piece {
  const text = jsonEscape(code).replace(/[\^$\\.*+?()[\]{}|]/g, "\\$&");
  return { text, empty: false, readings: 0 };
}
