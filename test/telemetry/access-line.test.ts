// One line of the access log, in both forms, whatever a caller put into his request.
import test from "ava";
import { type AccessRecord, formatAccessLine } from "../../src/telemetry/access-line.ts";

const complete: AccessRecord = {
  time: new Date("2026-01-31T23:59:58.123Z"),
  keyId: "team-a",
  method: "POST",
  path: "/v1/chat/completions",
  status: 200,
  requestId: "req_1",
  promptTokens: 12,
  cachedTokens: 8,
  completionTokens: 5,
  finishReason: "stop",
  error: null,
  queueMs: 0.4,
  ttftMs: 31.6,
  durationMs: 80.2,
};

const unreadable: AccessRecord = {
  ...complete,
  keyId: null,
  method: null,
  path: null,
  status: 400,
  promptTokens: null,
  cachedTokens: null,
  completionTokens: null,
  finishReason: null,
  error: "bad_request",
  queueMs: null,
  ttftMs: null,
  durationMs: null,
};

test("text: time, key id, method and path, status, then the fields", (t) => {
  t.is(
    formatAccessLine("text", complete),
    "2026-01-31T23:59:58.123Z | team-a | POST /v1/chat/completions | 200 | " +
      "id=req_1 in=12 cached=8 out=5 finish=stop error=- queue=0 ttft=32 dur=80\n",
  );
  t.is(
    formatAccessLine("text", unreadable),
    "2026-01-31T23:59:58.123Z | - | - - | 400 | " +
      "id=req_1 in=- cached=- out=- finish=- error=bad_request queue=- ttft=- dur=-\n",
  );
});

test("JSON: the members in their order, null where nothing applies", (t) => {
  t.is(
    formatAccessLine("json", complete),
    '{"ts":"2026-01-31T23:59:58.123Z","key_id":"team-a","method":"POST","path":"/v1/chat/completions","status":200,' +
      '"request_id":"req_1","prompt_tokens":12,"cached_tokens":8,"completion_tokens":5,"finish_reason":"stop",' +
      '"error":null,"queue_ms":0,"ttft_ms":32,"duration_ms":80}\n',
  );
  t.like(JSON.parse(formatAccessLine("json", unreadable)), { key_id: "-", method: "-", path: "-", duration_ms: null });
});

test("bars and control characters cannot forge a column or a line", (t) => {
  const path = "/a | 200 | id=x\n2026 | admin\r\u0000\u001b[2J\u0085\u2028\u202e\u007f";
  const text = formatAccessLine("text", { ...complete, path });
  t.is(text.split(" | ").length, 5);
  t.is(text.split("\n").length, 2);
  t.notRegex(text.slice(0, -1), /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
  t.true(text.includes("POST /a _ 200 _ id=x_2026 _ admin"));
  const json = formatAccessLine("json", { ...complete, path });
  t.notRegex(json.slice(0, -1), /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
  t.is(JSON.parse(json).path, path);
});

test("a key in a path or a request id is masked, and a path without end is cut", (t) => {
  const hostile = { ...complete, path: `/v1/models/sk-${"a".repeat(43)}`, requestId: `sk-${"b".repeat(43)}` };
  for (const format of ["text", "json"] as const) {
    const line = formatAccessLine(format, hostile);
    t.notRegex(line, /aaaa|bbbb/);
    t.true(line.includes("/v1/models/sk-***"));
    t.true(formatAccessLine(format, { ...complete, path: `/${"x".repeat(60_000)}` }).length < 1500);
  }
});
