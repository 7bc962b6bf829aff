// How long an answer may get: the request's limit, the operator's cap and the room the prompt leaves.
import test from "ava";
import { roomFor } from "../../src/api/room.ts";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { refusal } from "../helpers/parsing.ts";

const { model } = createMockEngine({ contextTokens: 100 });
const room = (prompt: number, asked: number, maxOutputTokens = 0) =>
  roomFor(prompt, asked, "messages", { model, config: { maxOutputTokens } });

test("the smallest of limit, cap and room counts", (t) => {
  t.is(room(40, -1), 60);
  t.is(room(40, 10), 10);
  t.is(room(40, 1000), 60);
  t.is(room(40, -1, 20), 20);
  t.is(room(40, 30, 20), 20);
  t.is(room(99, -1, 20), 1);
});

test("a prompt must leave room for one token, unless none is asked for", (t) => {
  t.is(room(99, 5), 1);
  t.is(room(100, 0), 0);
  t.is(refusal(() => room(100, 1))?.code, "context_length_exceeded");
  t.is(refusal(() => room(100, -1))?.code, "context_length_exceeded");
  t.like(
    refusal(() => room(101, 0)),
    {
      status: 400,
      param: "messages",
      message:
        "This model's maximum context length is 100 tokens; messages came to 101, which exceeds the available context size.",
    },
  );
});
