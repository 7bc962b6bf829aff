// What llama.cpp's chat templates are given: the request as JSON, of long messages in slices.
import test from "ava";
import type { ChatPrompt } from "../../src/engine/engine.ts";
import { toTemplateInputs } from "../../src/engine/template-inputs.ts";
import { turnsDuring } from "../helpers/loop.ts";

async function inputsOf(prompt: ChatPrompt): Promise<unknown> {
  const inputs = await toTemplateInputs(prompt);
  return JSON.parse(typeof inputs === "string" ? inputs : Buffer.concat(inputs).toString());
}

test("messages under OpenAI's names, and settings only where there are some", async (t) => {
  const user = { role: "user" as const, content: 'é"\n' };
  t.deepEqual(await inputsOf({ messages: [user] }), { messages: [user] });
  const tool = { name: "f", parameters: { type: "object" } };
  const call = { id: "a", name: "f", arguments: "{}" };
  t.deepEqual(
    await inputsOf({
      messages: [
        { ...user, name: "Ann" },
        { role: "assistant", content: "", reasoning: "Hm", toolCalls: [call] },
        { role: "tool", content: "ok", toolCallId: "a" },
      ],
      tools: [tool],
      continueFinalMessage: true,
    }),
    {
      messages: [
        { ...user, name: "Ann" },
        {
          role: "assistant",
          content: "",
          reasoning_content: "Hm",
          tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }],
        },
        { role: "tool", content: "ok", tool_call_id: "a" },
      ],
      tools: [{ type: "function", function: tool }],
      tool_choice: "auto",
      continue_final_message: true,
    },
  );
});

test("others get their turn while long messages, and many, are written", async (t) => {
  const text = 'line "😀"\n'.repeat(200_000);
  const long = { messages: [{ role: "user" as const, content: text }] };
  const many = { messages: Array.from({ length: 2000 }, () => ({ role: "user" as const, content: "é".repeat(1000) })) };
  for (const prompt of [long, many]) {
    const turns = await turnsDuring(async () => t.deepEqual(await inputsOf(prompt), prompt));
    t.true(turns >= 6, `${turns}`);
  }
});
