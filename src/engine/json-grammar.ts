// Closes the gaps of the grammars that llama.cpp writes for JSON: each of these changes only forbids answers that are no JSON, or
// that a strict validator would turn down. Works on the grammar's text; a rule that is not there is left alone.

/**
 * - A character is one of Unicode, and no escape is half a surrogate pair, so that lengths are what they seem.
 * - An exponent has two digits, so that no number is infinite.
 * - A further property's name ("any but these") holds no raw control character and no escape before it differs from the others.
 * - A JSON answer is not wrapped in a Markdown fence, not even where the template would have one.
 */
export function strictJson(grammar: string): string {
  return grammar
    .replace(/^char ::= .*$/m, () => `char ::= ${character}`)
    .replace(/^number ::= .*$/m, () => `number ::= ${number}`)
    .replace(/^\S*-additional-k\d* ::= .*$/gm, (rule) => rule.replaceAll('[^"', plainCharacterBut))
    .replace(/^(root|response-format) ::= .*$/gm, (rule) => unfenced(rule));
}

const unicodeEscape = '"u" ([0-9a-cA-CefEF] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] | [dD] [0-7] [0-9a-fA-F] [0-9a-fA-F])';
const character = String.raw`[\x20-\x21\x23-\x5B\x5D-\x7E\u0080-\uD7FF\uE000-\U0010FFFF] | [\\] (["\\bfnrt] | ${unicodeEscape})`;
const number = '("-"? integral-part) ("." decimal-part)? ([eE] [-+]? [0-9] [0-9]?)?';
const plainCharacterBut = String.raw`[^"\\\x00-\x1F\x7F`;

function unfenced(rule: string): string {
  return rule
    .replace(
      '("```json" space response-format space "```" | space response-format space)',
      "space response-format space",
    )
    .replace(/"```json" space (response-format(?:-schema)?) space "```"/, "space $1 space");
}

/** A fence is part of what the parser of answers by this grammar expects. */
export function expectsFence(grammar: string): boolean {
  const rules = [...grammar.matchAll(/^(?:root|response-format) ::= .*$/gm)].map(([rule]) => rule);
  return rules.some((rule) => rule.includes('"```json" space') && !rule.includes('("```json"'));
}
