// The prompts of a completion request in all their forms, and the fields that only completions have.
import test from "ava";
import { parseCompletionRequest } from "../../src/openai/completion-request.ts";
import { completion, refusal, testLimits } from "../helpers/parsing.ts";
import { testConfig } from "../helpers/server.ts";

const prompts = (prompt: unknown) => completion({ prompt }).prompts;
const refuse = (prompt: unknown) => refusal(() => completion({ prompt }));

test("a prompt is a string, token ids, a mix of both, or several of these", (t) => {
  t.deepEqual(prompts("a"), [["a"]]);
  t.deepEqual(prompts(""), [[""]]);
  t.deepEqual(prompts([1, 2, 3]), [[1, 2, 3]]);
  t.deepEqual(prompts([1, "a", 2]), [[1, "a", 2]]);
  t.deepEqual(prompts(["a", "b"]), [["a"], ["b"]]);
  t.deepEqual(prompts(["a"]), [["a"]]);
  t.deepEqual(prompts([[1, 2], "b", ["c", 4]]), [[1, 2], ["b"], ["c", 4]]);
  t.deepEqual(prompts([0, 99]), [[0, 99]]);
});

test("anything else is refused with its place", (t) => {
  const bare = refusal(() => parseCompletionRequest({}, { ...testLimits, config: testConfig() }));
  t.like(bare, { status: 400, code: "missing_required_parameter", param: "prompt" });
  t.like(refuse(null), { code: "missing_required_parameter", param: "prompt" });
  t.like(refuse([]), { code: "array_below_min_length", param: "prompt" });
  t.like(refuse([[]]), { code: "array_below_min_length", param: "prompt[0]" });
  t.like(refuse(5), { code: "invalid_type", param: "prompt" });
  t.like(refuse({}), { code: "invalid_type", param: "prompt" });
  t.like(refuse([1, true]), { code: "invalid_type", param: "prompt[1]" });
  t.like(refuse([1, 2.5]), { code: "invalid_type", param: "prompt[1]" });
  t.like(refuse(["a", null]), { code: "invalid_type", param: "prompt[1]" });
  t.like(refuse([[1], 2]), { code: "invalid_type", param: "prompt[1]" });
  t.like(refuse([[1, [2]]]), { code: "invalid_type", param: "prompt[0][1]" });
});

test("token ids outside the vocabulary are refused with their place", (t) => {
  t.like(refuse([1, 100]), { status: 400, code: "invalid_value", param: "prompt[1]" });
  t.like(refuse([-1]), { code: "invalid_value", param: "prompt[0]" });
  t.like(refuse(["a", [3, 1e300]]), { code: "invalid_value", param: "prompt[1][1]" });
});

test("at most 64 prompts, and 128 answers", (t) => {
  t.is(refuse(new Array(64).fill("a")), undefined);
  t.like(refuse(new Array(65).fill("a")), { code: "array_above_max_length", param: "prompt" });
  const answers = (count: number, n: number) => refusal(() => completion({ prompt: new Array(count).fill("a"), n }));
  t.is(answers(64, 2), undefined);
  t.like(answers(43, 3), { code: "invalid_value", param: "n" });
});

test("best_of must equal n", (t) => {
  t.is(
    refusal(() => completion({ best_of: 1 })),
    undefined,
  );
  t.is(
    refusal(() => completion({ best_of: 3, n: 3 })),
    undefined,
  );
  t.like(
    refusal(() => completion({ best_of: 3 })),
    { status: 400, code: "unsupported_value", param: "best_of" },
  );
});

test("logprobs is a number, and wins over n_probs", (t) => {
  const told = (fields: object) => {
    const { settings, nativeLogprobs, ignored } = completion({ ...fields });
    return [settings.logprobs, settings.promptLogprobs, nativeLogprobs, ignored];
  };
  t.deepEqual(told({}), [undefined, undefined, false, []]);
  t.deepEqual(told({ logprobs: 0 }), [0, undefined, false, []]);
  t.deepEqual(told({ logprobs: 20, echo: true }), [20, 20, false, []]);
  t.deepEqual(told({ n_probs: 3, echo: true }), [3, undefined, true, []]);
  t.deepEqual(told({ n_probs: 3, logprobs: 2 }), [2, undefined, false, ["n_probs"]]);
  const refuse = (logprobs: unknown) => refusal(() => completion({ logprobs }));
  t.like(refuse(true), { code: "invalid_type", param: "logprobs" });
  t.like(refuse(21), { code: "integer_above_max_value", param: "logprobs" });
  t.like(refuse(-1), { code: "integer_below_min_value", param: "logprobs" });
});

test("a suffix goes with one string and without echo; an empty one asks for nothing", (t) => {
  t.is(completion({ suffix: "x" }).suffix, "x");
  t.is(completion({ suffix: "", prompt: ["a", "b"], echo: true }).suffix, undefined);
  t.like(
    refusal(() => completion({ suffix: "x", prompt: ["a"] })),
    { code: "invalid_value", param: "suffix" },
  );
  t.like(
    refusal(() => completion({ suffix: "x", echo: true })),
    { code: "invalid_value", param: "suffix" },
  );
});

test("tools and formats do not exist here", (t) => {
  t.deepEqual(completion({ echo: false, suffix: null, logprobs: null }).ignored, []);
  t.deepEqual(completion({ tools: [{}], response_format: {} }).ignored, ["tools", "response_format"]);
});
