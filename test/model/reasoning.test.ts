// Thinking on tiny-chat, whose template begins it in the prompt: budgets are held to the token.
import test from "ava";
import { jsonOf } from "../helpers/server.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";

type Post = Awaited<ReturnType<typeof startTinyApi>>["post"];

const question = [{ role: "user", content: "What is 5 plus 2?" }];

async function think(post: Post, fields: object) {
  const request = { messages: question, temperature: 0, max_tokens: 60, logprobs: true, ...fields };
  const { choices, usage } = await jsonOf(await post("/v1/chat/completions", request));
  const [{ message, logprobs }] = choices;
  const tokens = logprobs.content.map(({ token }: { token: string }) => token);
  return { message, tokens, thought: usage.completion_tokens_details.reasoning_tokens };
}

test("after as many tokens of reasoning as the budget has, its end tag is forced", async (t) => {
  const { post } = await startTinyApi(t);
  const free = await think(post, {});
  t.true(free.thought > 5);
  for (const budget of [1, 2, 3, 5]) {
    const { message, tokens, thought } = await think(post, { thinking_budget_tokens: budget });
    t.is(thought, budget);
    t.is(message.reasoning_content, free.tokens.slice(0, budget).join(""));
    t.is(tokens[budget], "</think>");
  }
  const roomy = await think(post, { thinking_budget_tokens: 1000 });
  t.is(roomy.message.reasoning_content, free.message.reasoning_content);
});

test("a budget of 0 ends thinking at once, behind its message if it has one", async (t) => {
  const { post } = await startTinyApi(t);
  const none = await think(post, { thinking_budget_tokens: 0 });
  t.is(none.tokens[0], "</think>");
  t.is(none.thought, 0);
  t.false("reasoning_content" in none.message);
  t.regex(none.message.content, /5 \+ 2 = 7$/);
  const told = await think(post, { thinking_budget_tokens: 0, reasoning_budget_message: "Enough of this." });
  t.is(told.message.reasoning_content, "Enough of this.");
  t.true(told.message.content.length > 0);
});

test("where the prompt has ended thinking, a budget forces nothing into the answer", async (t) => {
  const { post } = await startTinyApi(t);
  for (const thinking_budget_tokens of [0, 1, 3]) {
    const budget = { thinking_budget_tokens, reasoning_budget_message: "Enough of this now, thank you." };
    const { message } = await think(post, { reasoning_effort: "none", ...budget });
    t.is(message.content, "5 + 2 = 7");
    t.false("reasoning_content" in message);
  }
});

test("what an earlier answer has thought already is not counted", async (t) => {
  const { post } = await startTinyApi(t);
  const messages = [...question, { role: "assistant", reasoning_content: "5 plus" }];
  const go = { messages, continue_final_message: "reasoning_content" };
  const { message, thought } = await think(post, { ...go, thinking_budget_tokens: 2 });
  t.is(thought, 2);
  t.true(message.content.length > 0);
});

test("the other dialects count the same tokens", async (t) => {
  const { post } = await startTinyApi(t);
  const thinking = { type: "enabled", budget_tokens: 3 };
  const message = await jsonOf(
    await post("/v1/messages", { messages: question, max_tokens: 60, temperature: 0, thinking }),
  );
  t.is(message.usage.output_tokens_details.thinking_tokens, 3);
  const fields = { input: question[0]!.content, temperature: 0, thinking_budget_tokens: 3 };
  const { usage } = await jsonOf(await post("/v1/responses", fields));
  t.is(usage.output_tokens_details.reasoning_tokens, 3);
});
