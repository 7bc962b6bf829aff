// Finds where a text stops being JSON and says so in words of our own: JSON.parse's messages change with every release of V8,
// often lack a position, and quote the caller's text. Only run after JSON.parse has refused a text.

export type SyntaxProblem = { readonly why: string /** Index into the text. */; readonly at: number };

const blank = /[ \t\n\r]*/y;
const scalar = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y;
/** Some elements of an array with the commas behind them: short numbers and words, of which there may be very many. */
const elements =
  /(?:[ \t\n\r]{0,64}(?:true|false|null|-?(?:0|[1-9]\d{0,16})(?:\.\d{1,17})?(?:[eE][+-]?\d{1,3})?)[ \t\n\r]{0,64},){1,256}/y;
/** Some of what a string may hold; in pieces, as a pattern keeps every step of what it has read. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: a JSON string may not hold them
const inString = /(?:[^"\\\u0000-\u001f]{1,256}|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){1,256}/y;

/** A text that JSON.parse refuses -> the first place where it goes wrong. */
export function findSyntaxError(text: string): SyntaxProblem {
  const reader = new Reader(text);
  try {
    reader.readValue();
    reader.skipBlank();
    return { why: "unexpected text after the value", at: reader.at };
  } catch (problem) {
    if (problem instanceof Problem) return { why: problem.message, at: reader.at };
    throw problem;
  }
}

class Problem extends Error {}

/** Reads by recursion: whoever calls has bounded the depth of the text. */
class Reader {
  readonly #text: string;
  at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readValue(): void {
    this.skipBlank();
    const first = this.#text[this.at];
    if (first === "{") this.#readMembers("}", () => this.#readMember());
    else if (first === "[") this.#readMembers("]", () => this.#readElement());
    else if (first === '"') this.#readString();
    else if (!this.#skip(scalar)) this.#fail("a value");
  }

  /** Or several. */
  #readElement(): void {
    while (this.#skip(elements));
    this.readValue();
  }

  skipBlank(): void {
    this.#skip(blank);
  }

  #readMembers(close: string, readOne: () => void): void {
    this.at += 1;
    if (this.#take(close)) return;
    for (;;) {
      readOne();
      if (this.#take(close)) return;
      if (!this.#take(",")) this.#fail(`a comma or ${close}`);
    }
  }

  #readMember(): void {
    this.skipBlank();
    if (this.#text[this.at] !== '"') this.#fail("a quoted name");
    this.#readString();
    if (!this.#take(":")) this.#fail("a colon");
    this.readValue();
  }

  #readString(): void {
    this.at += 1;
    while (this.#skip(inString));
    const next = this.#text[this.at];
    if (next === undefined) throw new Problem("a string is not closed");
    if (next === "\\") throw new Problem("a string holds an escape that JSON does not know");
    if (next !== '"') throw new Problem("a string holds a control character that is not escaped");
    this.at += 1;
  }

  /** Blanks, then that character if it comes next. */
  #take(character: string): boolean {
    this.skipBlank();
    if (this.#text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  #skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.at;
    if (!pattern.test(this.#text)) return false;
    this.at = pattern.lastIndex;
    return true;
  }

  #fail(expected: string): never {
    throw new Problem(this.at < this.#text.length ? `expected ${expected}` : "it ends too early");
  }
}
