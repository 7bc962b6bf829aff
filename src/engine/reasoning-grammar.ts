// Puts a grammar behind the reasoning of a model that thinks: into the frame that llama.cpp writes around a JSON answer, or, where a
// template has none, into one of our own. Works on the grammars' text.

/** Set before the names of the rules of the grammar put in, so that none is also the frame's. */
const prefix = "own-";

/**
 * @param own GBNF with a rule `root`
 * @param frame the template's grammar of a JSON answer: reasoning, if any, then the rule that stands for the schema
 * @returns undefined when the frame has no such rule
 */
export function afterReasoning(own: string, frame: string): string | undefined {
  // What the template wants around the JSON is in the first rule, where there are both.
  const rule = [/^response-format-schema ::= .*$/m, /^response-format ::= .*$/m].find((rule) => rule.test(frame));
  if (!rule) return undefined;
  const name = frame.match(rule)![0].split(" ")[0];
  const framed = frame
    .replace(rule, () => `${name} ::= ${prefix}root`)
    .replace(/^root ::= .*$/m, (root) => withoutSpace(root));
  return `${framed.trimEnd()}\n${renameRules(own, prefix)}`;
}

/** JSON may stand between spaces; what the caller's grammar allows is for it alone to say. */
function withoutSpace(rule: string): string {
  return rule.replace(/"(?:[^"\\]|\\.)*"| space\b/g, (found) => (found === " space" ? "" : found));
}

/**
 * Literals, character classes, tokens, repetitions and comments are passed over; what else is a word names a rule. One that is not
 * closed reaches to the end, where the grammar is none: looked for again from every character, the end would take seconds to find.
 */
export function renameRules(grammar: string, prefix: string): string {
  const words = /"(?:[^"\\]|\\[\s\S]?)*"?|\[(?:[^\]\\]|\\[\s\S]?)*\]?|<[^>\n]*>?|\{[^}]*\}?|#.*|[A-Za-z0-9-]+/g;
  return grammar.replace(words, (found) => (/^[A-Za-z0-9-]/.test(found) ? prefix + found : found));
}

export type Thinking = {
  /** What the prompt ends with, as the beginning of the answer. */
  readonly generationPrompt: string;
  readonly startTag: string;
  /** Empty: the model does not think. */
  readonly endTag: string;
};

/** The same in a frame of our own: the reasoning first, which the prompt may have begun, or none. */
export function afterTags(own: string, { generationPrompt, startTag, endTag }: Thinking): string {
  const thinks = startTag !== "" && endTag !== "";
  const begun = generationPrompt.trimEnd().endsWith(startTag.trim());
  const reasoning = begun ? "until-0" : `(${literal(startTag)} until-0)?`;
  const parts = [
    ...(generationPrompt === "" ? [] : [literal(generationPrompt)]),
    ...(thinks ? [reasoning] : []),
    `${prefix}root`,
  ];
  const root = `root ::= ${parts.join(" ")}`;
  return [root, ...(thinks ? untilRules(endTag) : []), renameRules(own, prefix)].join("\n");
}

const literal = (text: string): string => `"${[...text].map(escaped).join("")}"`;

function escaped(character: string): string {
  return `\\U${character.codePointAt(0)!.toString(16).padStart(8, "0")}`;
}

/** Any text up to and with the tag: rule i has seen the first i characters of it last. */
function untilRules(tag: string): string[] {
  const characters = [...tag];
  const letters = [...new Set(characters)];
  return characters.map((_, seen) => {
    const next = (letter: string) => overlap(characters, [...characters.slice(0, seen), letter]);
    const ways = letters.map((letter) => [letter, next(letter)] as const).filter(([, length]) => length > 0);
    const others = `[^${ways.map(([letter]) => escaped(letter)).join("")}] until-0`;
    return `until-${seen} ::= ${[...ways.map((way) => goOn(...way, characters.length)), others].join(" | ")}`;
  });
}

const goOn = (letter: string, seen: number, all: number): string =>
  seen === all ? `[${escaped(letter)}]` : `[${escaped(letter)}] until-${seen}`;

/** How many characters at the end of `text` begin the tag, or are all of it. */
function overlap(tag: readonly string[], text: readonly string[]): number {
  for (let length = Math.min(tag.length, text.length); length > 0; length--) {
    if (tag.slice(0, length).every((character, index) => character === text[text.length - length + index]))
      return length;
  }
  return 0;
}
