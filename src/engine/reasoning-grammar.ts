// Puts a caller's grammar behind the reasoning of a model that thinks: into the frame that llama.cpp writes around a JSON answer.
// Works on the grammars' text.

/** Set before the names of the caller's rules, so that none is also the frame's. */
const prefix = "own-";

/**
 * @param own GBNF with a rule `root`
 * @param frame the template's grammar of a JSON answer: reasoning, if any, then the rule `response-format`
 * @returns undefined when the frame has no such rule
 */
export function afterReasoning(own: string, frame: string): string | undefined {
  const rule = /^response-format ::= .*$/m;
  if (!rule.test(frame)) return undefined;
  const framed = frame
    .replace(rule, () => `response-format ::= ${prefix}root`)
    .replace(/^root ::= .*$/m, (root) => withoutSpace(root));
  return `${framed.trimEnd()}\n${renameRules(own)}`;
}

/** JSON may stand between spaces; what the caller's grammar allows is for it alone to say. */
function withoutSpace(rule: string): string {
  return rule.replace(/"(?:[^"\\]|\\.)*"| space\b/g, (found) => (found === " space" ? "" : found));
}

/** Literals, character classes, tokens, repetitions and comments are passed over; what else is a word names a rule. */
function renameRules(grammar: string): string {
  const words = /"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|<[^>\n]*>|\{[^}]*\}|#.*|[A-Za-z0-9-]+/g;
  return grammar.replace(words, (found) => (/^[A-Za-z0-9-]/.test(found) ? prefix + found : found));
}
