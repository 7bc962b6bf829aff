// The form of one line of the access log (CONTRACT.md section 9), as text or JSON: whatever the caller sent, it stays one line with
// its own fields, and no key is in it.
import type { LogFormat } from "./log-line.ts";

/** What the access log tells about one call. null: not applicable, or not known. Times in milliseconds. */
export type AccessRecord = {
  /** When the answer ended. */
  readonly time: Date;
  readonly keyId: string | null;
  /** null together with the path: there was no readable request. */
  readonly method: string | null;
  /** Without its query. */
  readonly path: string | null;
  readonly status: number;
  readonly requestId: string;
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
  readonly finishReason: string | null;
  /** The code of the failure that the client was told. */
  readonly error: string | null;
  readonly queueMs: number | null;
  readonly ttftMs: number | null;
  readonly durationMs: number | null;
};

const none = "-";
/** A path is as long as the request line may be; a log line is not. */
const maxPathLength = 1024;

/** Control characters and what else breaks lines or drives terminals. */
const controls = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
const controlsAndBars = /[|\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
/** Callers put keys where they do not belong. */
const keyForm = /\b(sk-)[A-Za-z0-9_-]{4,}/gi;

/** @returns one line, its end included */
export function formatAccessLine(format: LogFormat, record: AccessRecord): string {
  return format === "json" ? jsonLine(record) : textLine(record);
}

function textLine(record: AccessRecord): string {
  const fields = {
    id: withoutKey(record.requestId),
    in: record.promptTokens,
    cached: record.cachedTokens,
    out: record.completionTokens,
    finish: record.finishReason,
    error: record.error,
    queue: whole(record.queueMs),
    ttft: whole(record.ttftMs),
    dur: whole(record.durationMs),
  };
  const columns = [
    record.time.toISOString(),
    record.keyId ?? none,
    `${record.method ?? none} ${pathOf(record) ?? none}`,
    String(record.status),
    Object.entries(fields)
      .map(([name, value]) => `${name}=${value ?? none}`)
      .join(" "),
  ];
  return `${columns.map((column) => column.replace(controlsAndBars, "_")).join(" | ")}\n`;
}

function jsonLine(record: AccessRecord): string {
  const line = JSON.stringify({
    ts: record.time.toISOString(),
    key_id: record.keyId ?? none,
    method: record.method ?? none,
    path: pathOf(record) ?? none,
    status: record.status,
    request_id: withoutKey(record.requestId),
    prompt_tokens: record.promptTokens,
    cached_tokens: record.cachedTokens,
    completion_tokens: record.completionTokens,
    finish_reason: record.finishReason,
    error: record.error,
    queue_ms: whole(record.queueMs),
    ttft_ms: whole(record.ttftMs),
    duration_ms: whole(record.durationMs),
  });
  return `${line.replace(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}

const whole = (ms: number | null): number | null => (ms === null ? null : Math.round(ms));

const withoutKey = (text: string): string => text.replace(keyForm, "$1***");

function pathOf({ path }: AccessRecord): string | null {
  if (path === null) return null;
  return withoutKey(path.length > maxPathLength ? `${path.slice(0, maxPathLength)}...` : path);
}
