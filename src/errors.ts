// The closed catalogue of failures a client can see. A failure is named by its kind; status, type and code follow from it.
// Nothing here knows HTTP headers beyond what a failure itself carries, and nobody decides by message text.

type Entry = {
  readonly status: number;
  readonly type: "invalid_request_error" | "permission_error" | "rate_limit_error" | "server_error" | "timeout_error";
  /** The code on the wire, where it differs from the kind. */
  readonly code?: string;
  /** When a client sees it; printed in the README's table. */
  readonly when: string;
};

const invalid = (status: number, when: string): Entry => ({ status, type: "invalid_request_error", when });
const server = (status: number, when: string): Entry => ({ status, type: "server_error", when });
const limit = (when: string): Entry => ({ status: 429, type: "rate_limit_error", when });

export const catalogue = {
  bad_request: invalid(400, "malformed HTTP: request line, header, length, Host, CONNECT"),
  invalid_json: invalid(
    400,
    "the body is empty, not UTF-8, not JSON, not an object, nested too deep, or of more parts than are read: 100,000 objects, arrays, names and texts, 500,000 values, 4096 members of one object",
  ),
  missing_required_parameter: invalid(400, "a required field is absent or null"),
  invalid_type: invalid(400, "a field has the wrong JSON type"),
  integer_below_min_value: invalid(400, "an integer is below its range"),
  integer_above_max_value: invalid(400, "an integer is above its range"),
  decimal_below_min_value: invalid(400, "a number is below its range"),
  decimal_above_max_value: invalid(400, "a number is above its range"),
  string_below_min_length: invalid(400, "a string is too short"),
  string_above_max_length: invalid(400, "a string is too long"),
  array_below_min_length: invalid(400, "an array has too few items"),
  array_above_max_length: invalid(400, "an array has too many items"),
  object_above_max_properties: invalid(400, "an object has too many members"),
  invalid_value: invalid(400, "a value is not in the enumeration or pattern, or fields contradict each other"),
  unsupported_parameter: invalid(400, "a known field that this server does not support"),
  unsupported_value: invalid(400, "a known value that this server does not support"),
  unsupported_model: invalid(400, "the loaded model cannot do this"),
  invalid_json_schema: invalid(400, "a JSON schema is malformed, or uses what cannot be enforced"),
  invalid_function_parameters: invalid(400, "the same, in the parameters of a tool with strict"),
  schema_too_complex: invalid(400, "a JSON schema exceeds a bound, or its grammar is too ambiguous to follow"),
  invalid_grammar: invalid(400, "a grammar does not parse, has no root, or is too ambiguous to follow"),
  chat_template_error: invalid(400, "the model's chat template refuses the messages"),
  context_length_exceeded: invalid(400, "the prompt does not fit into the context"),
  request_exceeds_token_quota: invalid(400, "the prompt alone is larger than the key's tokens per minute"),
  invalid_api_key: invalid(401, "no, malformed, unknown or expired key"),
  admin_required: {
    status: 403,
    type: "permission_error",
    when: "an admin route with a key that is not in ADMIN_KEY_IDS",
  },
  reload_disabled: { status: 403, type: "permission_error", when: "POST /reload with AUTH_ENABLED=false" },
  not_found: invalid(404, "no such path"),
  model_not_found: invalid(404, "another model was asked for, with MODEL_STRICT or in GET /v1/models/{id}"),
  method_not_allowed: invalid(405, "the path exists, the method does not"),
  client_timeout: { ...invalid(408, "the head or the body of a request came too late"), code: "request_timeout" },
  payload_too_large: invalid(413, "the body is larger than MAX_REQUEST_BODY_SIZE"),
  uri_too_long: invalid(414, "the request line is longer than MAX_REQUEST_LINE_SIZE"),
  unsupported_media_type: invalid(415, "the body has a Content-Encoding"),
  expectation_failed: invalid(417, "an Expect header other than 100-continue"),
  header_fields_too_large: invalid(431, "too many header lines, or one too long"),
  rate_limit_exceeded: limit("the key's requests per minute are used up"),
  token_rate_limit_exceeded: { ...limit("the key's tokens per minute are used up"), code: "rate_limit_exceeded" },
  concurrency_limit_exceeded: limit("the key has as many requests under way as it may"),
  internal_error: server(500, "a fault of this server"),
  reload_failed: server(500, "the key file could not be read; the keys loaded before stay"),
  generation_failed: server(500, "the engine failed while it worked on the request"),
  loading: server(503, "the model is still loading"),
  draining: server(503, "the server is shutting down, or its engine is lost"),
  queue_full: server(503, "too many requests are waiting, or too many connections are open"),
  queued_tokens_full: { ...server(503, "the waiting requests have too many prompt tokens"), code: "queue_full" },
  queue_timeout: server(503, "QUEUE_TIMEOUT passed before a sequence was free"),
  request_timeout: { status: 504, type: "timeout_error", when: "REQUEST_TIMEOUT passed before the answer began" },
} as const satisfies Record<string, Entry>;

export type FailureKind = keyof typeof catalogue;

export type FailureDetails = {
  /** Path of the offending field from the body root (`messages[3].content`), or null. */
  readonly param?: string | null;
  /** Further members of the error object, where API.md names them. */
  readonly extra?: Readonly<Record<string, string | number>>;
  /** Response headers the failure brings along, for example Retry-After. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
};

export type ErrorObject = { message: string; type: string; param: string | null; code: string } & Record<
  string,
  unknown
>;

/** A failure of the catalogue. Its message is one sentence for the client and holds no key, path or stack. */
export class Failure extends Error {
  readonly kind: FailureKind;
  readonly status: number;
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly #extra: Readonly<Record<string, string | number>>;

  constructor(kind: FailureKind, message: string, details: FailureDetails = {}) {
    super(message, { cause: details.cause });
    this.name = "Failure";
    this.kind = kind;
    this.status = catalogue[kind].status;
    this.param = details.param ?? null;
    this.headers = details.headers ?? {};
    this.#extra = details.extra ?? {};
  }

  /** The object under `error` in a body or in an error event (API.md section 3). */
  toErrorObject(): ErrorObject {
    const entry: Entry = catalogue[this.kind];
    return {
      message: this.message,
      type: entry.type,
      param: this.param,
      code: entry.code ?? this.kind,
      ...this.#extra,
    };
  }
}
