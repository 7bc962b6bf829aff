// A failure in both dialects' forms, for every kind there is.
import test from "ava";
import { catalogue, Failure, type FailureKind } from "../../src/errors.ts";
import { failureAnswer, speaksAnthropic } from "../../src/http/failure-answer.ts";

const kinds = Object.keys(catalogue) as FailureKind[];

test("every kind has Anthropic's type by its status; only the queue's have another status", (t) => {
  const types: Record<number, string> = {};
  for (const kind of kinds) {
    const failure = new Failure(kind, "Why.", { extra: { more: 1 } });
    const { status, body } = failureAnswer(failure, "/v1/messages?beta=true", "req_1");
    const { type, error, request_id } = JSON.parse(body);
    t.is(type, "error");
    t.is(request_id, "req_1");
    t.is(error.code, failure.toErrorObject().code);
    t.is(error.param, null);
    if (kind !== "context_length_exceeded") t.is(error.message, "Why.");
    t.is(error.more, 1);
    t.is(status, /^queue_(full|timeout)$/.test(error.code) ? 529 : failure.status);
    types[failure.status] = error.type;
  }
  t.like(types, {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
  });
});

test("elsewhere a failure has OpenAI's form and its own status", (t) => {
  for (const kind of kinds) {
    const failure = new Failure(kind, "Why.", { param: "a[0].b" });
    const { status, body } = failureAnswer(failure, "/v1/chat/completions", "req_1");
    t.is(status, failure.status);
    t.deepEqual(JSON.parse(body), { error: failure.toErrorObject() });
  }
});

test("the message begins with the path, unless the path is a header's", (t) => {
  const message = (failure: Failure) => JSON.parse(failureAnswer(failure, "/v1/messages", "r").body).error.message;
  t.is(
    message(new Failure("invalid_type", "Wrong.", { param: "messages[2].content[0]" })),
    "messages.2.content.0: Wrong.",
  );
  t.is(message(new Failure("invalid_api_key", "No key.", { param: "authorization" })), "No key.");
});

test("which paths are Anthropic's", (t) => {
  const theirs = [
    "/v1/messages",
    "/v1/messages/",
    "/v1/messages?x",
    "/v1/messages/count_tokens",
    "http://h/v1/messages",
  ];
  const others = ["/", "/v1/models", "/v1/messages2", "/x/v1/messages", "/v1/chat?/v1/messages"];
  t.deepEqual(theirs.filter(speaksAnthropic), theirs);
  t.deepEqual(others.filter(speaksAnthropic), []);
});
