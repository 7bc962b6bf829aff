// A chat prompt as llama.cpp's chat templates take it: an OpenAI request with llama-server's names (native/src/chat_render.h).
import type { ChatMessage, ChatPrompt } from "./engine.ts";
import { encodeInTurns, slicesOf, type TextBytes } from "./text-bytes.ts";

/** As JSON; of long messages in slices. */
export function toTemplateInputs(prompt: ChatPrompt): Promise<TextBytes> {
  return encodeInTurns(inputsOf(prompt));
}

function* inputsOf(prompt: ChatPrompt): Generator<string> {
  let before = '{"messages":[';
  for (const message of prompt.messages) {
    yield before;
    yield* messagePieces(toOpenAi(message));
    before = ",";
  }
  const settings = JSON.stringify(toSettings(prompt));
  yield settings === "{}" ? "]}" : `],${settings.slice(1)}`;
}

type OpenAiMessage = ReturnType<typeof toOpenAi>;

function* messagePieces({ content, ...others }: OpenAiMessage): Generator<string> {
  yield JSON.stringify(others).slice(0, -1);
  yield ',"content":"';
  for (const slice of slicesOf(content)) yield JSON.stringify(slice).slice(1, -1);
  yield '"}';
}

function toSettings(prompt: ChatPrompt): Record<string, unknown> {
  const { tools = [], templateKwargs } = prompt;
  return {
    ...(tools.length > 0 && { tools: tools.map((tool) => ({ type: "function", function: tool })) }),
    ...(tools.length > 0 && { tool_choice: prompt.toolChoice ?? "auto" }),
    ...(prompt.parallelToolCalls !== undefined && { parallel_tool_calls: prompt.parallelToolCalls }),
    ...(prompt.jsonSchema && { json_schema: prompt.jsonSchema }),
    ...(templateKwargs && { chat_template_kwargs: templateKwargs }),
    ...(prompt.enableThinking !== undefined && { enable_thinking: prompt.enableThinking }),
    ...(prompt.addGenerationPrompt !== undefined && { add_generation_prompt: prompt.addGenerationPrompt }),
    ...(prompt.continueFinalMessage !== undefined && { continue_final_message: prompt.continueFinalMessage }),
  };
}

function toOpenAi(message: ChatMessage) {
  const { role, content, name, reasoning, toolCalls, toolCallId } = message;
  const call = (call: { id: string; name: string; arguments: string }) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  });
  return {
    role,
    content,
    ...(name && { name }),
    ...(reasoning && { reasoning_content: reasoning }),
    ...(toolCalls && { tool_calls: toolCalls.map(call) }),
    ...(toolCallId && { tool_call_id: toolCallId }),
  };
}
