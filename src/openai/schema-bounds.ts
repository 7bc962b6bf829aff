// What a JSON schema may cost (API.md section 2), counted while it is walked, and the ways in which a schema is turned down.
// Knows no keyword's meaning.

/** A schema is malformed, asks for what cannot be enforced, or exceeds a bound. Becomes a Failure in json-schema.ts. */
export class SchemaProblem extends Error {
  readonly kind: "unsupported" | "too_complex";
  /** Where: a JSON pointer fragment from the schema's root, for example `#/properties/x/pattern`. */
  readonly pointer: string;

  constructor(kind: SchemaProblem["kind"], pointer: string, why: string) {
    super(why);
    this.name = "SchemaProblem";
    this.kind = kind;
    this.pointer = pointer;
  }
}

const mostNodes = 2000;
/** Of all schemas of one request: about 50 ms of walking. */
const mostNodesInAll = 6000;
const mostDepth = 24;
/** Nesting through `$ref` besides: bounds the recursion of the walk and of llama.cpp's converter. */
const mostNesting = 256;
const mostValues = 1000;
const mostBytes = 120_000;
export const mostRepetitions = 2000;
/** Of all bounds together: each repetition becomes a rule of the grammar. */
const mostRepetitionsInAll = 100_000;
/** The converter writes a rule for every pair of optional properties of one object. */
const mostOptionalPairs = 40_000;
/** Rules are named by the way to their node; this is the sum of those names' lengths. */
const mostNameBytes = 1_000_000;

/** Of the patterns of all schemas of one request: about 10 ms of reading, three times as much where nothing has run yet. */
const mostPatternCharacters = 10_000;
/** What may stand in all places of all schemas of one request, counted in each place anew: about 20 ms of looking. */
const mostAlternatives = 20_000;

/** Counts what takes time, of all schemas of one request. */
export class SchemaTotal {
  #nodes = 0;
  #patternCharacters = 0;
  #alternatives = 0;

  node(pointer: string): void {
    this.#nodes += 1;
    if (this.#nodes > mostNodesInAll) throw tooMuch(`The bound of ${mostNodesInAll} nodes of all schemas`, pointer);
  }

  pattern(characters: number, pointer: string): void {
    this.#patternCharacters += characters;
    if (this.#patternCharacters <= mostPatternCharacters) return;
    throw tooMuch(`The bound of ${mostPatternCharacters} characters of all patterns`, pointer);
  }

  alternative(): void {
    this.#alternatives += 1;
    if (this.#alternatives > mostAlternatives) throw tooMuch(`The bound of ${mostAlternatives} alternatives`, "#");
  }
}

/** Counts one schema; every method throws SchemaProblem when its bound is exceeded. */
export class SchemaBounds {
  readonly #total: SchemaTotal;
  #nodes = 0;
  #values = 0;
  #bytes = 0;
  #nameBytes = 0;
  #repetitions = 0;
  #optionalPairs = 0;

  constructor(total: SchemaTotal) {
    this.#total = total;
  }

  /**
   * @param depth levels of schemas around it since the last `$ref`, 1 at the root
   * @param nesting the same through every `$ref`
   */
  node(pointer: string, depth: number, nesting: number): void {
    this.#nodes += 1;
    if (this.#nodes > mostNodes) throw tooMuch(`The bound of ${mostNodes} nodes`, pointer);
    this.#total.node(pointer);
    if (depth > mostDepth) throw tooMuch(`The depth of ${mostDepth}`, pointer);
    if (nesting > mostNesting) throw tooMuch(`The nesting of ${mostNesting} through $ref`, pointer);
    this.#nameBytes += pointer.length;
    if (this.#nameBytes > mostNameBytes) throw tooMuch("The bound on the length of nested names", pointer);
  }

  values(count: number, pointer: string): void {
    this.#values += count;
    if (this.#values > mostValues) throw tooMuch(`The bound of ${mostValues} enum and const values`, pointer);
  }

  pattern(pattern: string, pointer: string): void {
    this.text(pattern, pointer);
    this.#total.pattern(pattern.length, pointer);
  }

  /** Of a name, value or pattern. */
  text(text: string, pointer: string): void {
    this.#bytes += Buffer.byteLength(text);
    if (this.#bytes > mostBytes) throw tooMuch(`The bound of ${mostBytes} bytes of names and values`, pointer);
  }

  /** @param bound of `maxItems`, `maxLength`, `{m,n}` or the like */
  repetition(bound: number, pointer: string): void {
    if (bound > mostRepetitions) throw tooMuch(`The repetition bound of ${mostRepetitions}`, pointer);
    this.#repetitions += bound;
    if (this.#repetitions > mostRepetitionsInAll) {
      throw tooMuch(`The bound of ${mostRepetitionsInAll} on the sum of all repetitions`, pointer);
    }
  }

  optionalProperties(count: number, pointer: string): void {
    this.#optionalPairs += count * count;
    if (this.#optionalPairs > mostOptionalPairs) throw tooMuch("The bound on optional properties", pointer);
  }
}

function tooMuch(bound: string, pointer: string): SchemaProblem {
  return new SchemaProblem("too_complex", pointer, bound);
}

/** One step further down: `#/properties/a~1b`. */
export function pointerTo(pointer: string, ...steps: readonly (string | number)[]): string {
  let text = pointer;
  for (const step of steps) text += `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`;
  return text;
}
