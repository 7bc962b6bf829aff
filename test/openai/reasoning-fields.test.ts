// Fields that steer thinking, the template's variables, and how a turn begins.
import test from "ava";
import { chat, refusal } from "../helpers/parsing.ts";

const refuse = (fields: object) => refusal(() => chat(fields as never));

test("effort none turns thinking off, other efforts reach the template", (t) => {
  t.deepEqual(chat({ reasoning_effort: "none" }).prompt.enableThinking, false);
  t.deepEqual(chat({ reasoning_effort: "high" }).prompt.templateKwargs, { reasoning_effort: "high" });
  t.is(chat({ reasoning_effort: "none", chat_template_kwargs: { enable_thinking: true } }).prompt.enableThinking, true);
  t.deepEqual(
    chat({ reasoning_effort: "low", chat_template_kwargs: { reasoning_effort: "x" } }).prompt.templateKwargs,
    {
      reasoning_effort: "x",
    },
  );
  t.like(refuse({ reasoning_effort: "huge" }), { code: "invalid_value", param: "reasoning_effort" });
  t.like(refuse({ reasoning_effort: 5 }), { code: "invalid_type", param: "reasoning_effort" });
});

test("what depends on the template is said", (t) => {
  t.deepEqual(chat({ reasoning_effort: "none" }).needs, [{ field: "reasoning_effort", variable: "enable_thinking" }]);
  t.deepEqual(chat({ reasoning_effort: "low", reasoning_budget_tokens: 0 }).needs, [
    { field: "reasoning_effort", variable: "reasoning_effort" },
    { field: "reasoning_budget_tokens", variable: "tags" },
  ]);
  t.deepEqual(chat({ thinking_budget_tokens: -1 }).needs, []);
});

test("budgets: 0 ends thinking at once, -1 asks for nothing, the first name wins", (t) => {
  const budget = (fields: object) => chat(fields as never).settings.reasoning?.reasoningBudget;
  t.is(budget({ thinking_budget_tokens: 0 }), 0);
  t.is(budget({ reasoning_budget_tokens: 7 }), 7);
  t.is(budget({ thinking_budget_tokens: 3, reasoning_budget_tokens: 7 }), 3);
  t.is(budget({ thinking_budget_tokens: -1 }), undefined);
  t.is(budget({}), undefined);
  t.like(refuse({ thinking_budget_tokens: 1_000_001 }), { code: "integer_above_max_value" });
  t.like(refuse({ reasoning_budget_tokens: -2 }), { code: "integer_below_min_value" });
  t.like(refuse({ reasoning_budget_message: "x".repeat(1025) }), { code: "string_above_max_length" });
});

test("reasoning_format none leaves tags in the content; deepseek-legacy is refused", (t) => {
  t.is(chat({ reasoning_format: "none" }).prompt.splitReasoning, false);
  t.false("splitReasoning" in chat({ reasoning_format: "deepseek" }).prompt);
  t.like(refuse({ reasoning_format: "deepseek-legacy" }), { code: "invalid_value", param: "reasoning_format" });
});

test("template variables: at most 32, none of the rendering's own, enable_thinking a boolean", (t) => {
  const kwargs = (chat_template_kwargs: object) => refuse({ chat_template_kwargs });
  for (const name of ["messages", "tools", "bos_token", "eos_token", "add_generation_prompt"]) {
    t.like(kwargs({ [name]: 1 }), { code: "invalid_value", param: `chat_template_kwargs.${name}` });
  }
  t.like(kwargs({ enable_thinking: "true" }), { code: "invalid_type", param: "chat_template_kwargs.enable_thinking" });
  t.like(kwargs(Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, i]))), {
    code: "object_above_max_properties",
    param: "chat_template_kwargs",
  });
  const { prompt } = chat({ chat_template_kwargs: { enable_thinking: false, list: [1], no: null } });
  t.is(prompt.enableThinking, false);
  t.deepEqual(prompt.templateKwargs, { list: [1], no: null });
});

test("a last message is continued only when it is the assistant's and holds no calls", (t) => {
  const user = { role: "user", content: "u" };
  const assistant = { role: "assistant", content: "a" };
  const go = (fields: object, ...messages: object[]) => refuse({ messages, ...fields });
  for (const continue_final_message of [true, "content", "reasoning_content"]) {
    const { prompt } = chat({ messages: [user, assistant], continue_final_message });
    t.like(prompt, { continueFinalMessage: continue_final_message, addGenerationPrompt: false });
  }
  t.like(go({ continue_final_message: true }, user), { code: "invalid_value", param: "continue_final_message" });
  t.like(go({ continue_final_message: true, add_generation_prompt: true }, user, assistant), {
    code: "invalid_value",
    param: "continue_final_message",
  });
  t.like(go({ continue_final_message: "x" }, user, assistant), { code: "invalid_value" });
  t.is(go({ continue_final_message: false, add_generation_prompt: true }, user), undefined);
  t.is(chat({ add_generation_prompt: false }).prompt.addGenerationPrompt, false);
  t.false("continueFinalMessage" in chat({ messages: [user, assistant] }).prompt);
});

test("a call cannot be forced behind a text that goes on, but behind reasoning", (t) => {
  const tools = [{ type: "function", function: { name: "f" } }];
  const go = (message: object, fields: object) =>
    refuse({
      messages: [
        { role: "user", content: "u" },
        { role: "assistant", ...message },
      ],
      tools,
      ...fields,
    });
  const required = { tool_choice: "required", continue_final_message: true };
  t.like(go({ content: "a" }, required), { code: "invalid_value", param: "tool_choice" });
  t.is(go({ content: null, reasoning_content: "a" }, required), undefined);
  t.is(go({ content: "a" }, { ...required, tool_choice: "auto" }), undefined);
});
