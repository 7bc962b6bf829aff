// Changes llama.cpp's grammars of tool calls: no text before a call that must come, one call at most, and calls or something else.
// Works on the grammars' text.
import { renameRules } from "./reasoning-grammar.ts";

/** A quoted literal of GBNF. */
const literal = String.raw`"(?:[^"\\]|\\.)*"`;
/** What stands right before calls and lets any text come: by itself, or between two marks. */
const textBefore = new RegExp(
  String.raw` (?:until-\d+\??|\((${literal}) until-\d+ ${literal}\)\?)(?= (?:space )?[a-z0-9-]*tool-call)`,
  "g",
);

/**
 * llama.cpp's grammar of a required call lets text come before it; here only reasoning may.
 * @param thinkingTag what reasoning begins with; "" where the model does not think
 */
export function callFirst(grammar: string, thinkingTag: string): string {
  const root = (rule: string) =>
    rule
      .replace(textBefore, (found, mark?: string) => (mark === quote(thinkingTag) ? found : ""))
      // gpt-oss: messages to the user stand between thoughts.
      .replace("(start any)*", "(start analysis)*");
  return grammar.replace(/^root ::= .*$/m, root);
}

/** llama.cpp's grammar for tools with a mark before each call takes any number of calls, also where one was asked for. */
export function oneCall(grammar: string): string {
  return grammar.replace(/^(tool-calls ::= \(tool-call\?? space\))\+$/m, "$1");
}

/** Whether a grammar from callFirst() lets nothing but calls follow the reasoning, and nothing follow them. */
export function onlyCalls(grammar: string, thinkingTag: string): boolean {
  const root = grammar.match(/^root ::= .*$/m)?.[0] ?? "";
  const parts = root.split(quote(thinkingTag)).map((part, index) => (index === 0 ? part : part.replace(reasoning, "")));
  const rest = thinkingTag === "" ? root : parts.join("");
  return /tool-call/.test(rest) && !/\b(?:until-\d+|any)\b/.test(rest);
}

/** What follows the tag. */
const reasoning = /^\??(?: space| "\\n"\?)* until-\d+/;

/** What one of the two grammars takes. Those of calls can be large, so only their root gets another name. */
export function eitherOf(calls: string, json: string): string {
  const renamed = calls.replace(/^root ::=/m, "calls-root ::=");
  return ["root ::= calls-root | form-root", renamed.trimEnd(), renameRules(json, "form-")].join("\n");
}

const quote = (text: string): string => `"${text.replace(/["\\\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`))}"`;
