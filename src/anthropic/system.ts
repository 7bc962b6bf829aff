// The system prompt in one text. Refuses nothing but blocks that are no text.
import { joinText, type TextContent } from "./blocks.ts";

const billingHeader = "x-anthropic-billing-header:";

/** @throws Failure 400 at a block that is no text */
export function toSystemPrompt(system: TextContent): string {
  return fixBillingHeader(joinText(system, "system"));
}

/** An agent's first line changes its `cch=` with every request; left so, no prompt would ever share a cached beginning. */
function fixBillingHeader(prompt: string): string {
  if (!prompt.startsWith(billingHeader)) return prompt;
  const end = prompt.indexOf("\n");
  const line = end === -1 ? prompt : prompt.slice(0, end);
  return line.replace(/\bcch=[^;\s]*/g, "cch=0") + prompt.slice(line.length);
}
