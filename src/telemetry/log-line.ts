// The form of one log line: pino's record rewritten as text or JSON, on one line whatever it holds, and never with a key in it.

export type LogFormat = "text" | "json";

/** Fields whose value is a credential, at any depth of a logged object. */
const secretNames = new Set(["authorization", "proxy-authorization", "x-api-key", "api_key", "apikey", "cookie"]);
// Control characters forge lines and drive terminals; so do line separators and text direction marks.
const controls = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
const credentials = /\b(Bearer\s+|sk-)[A-Za-z0-9_\-.~+/]{4,}=*/gi;

const escapeControls = (text: string): string =>
  text.replace(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);

const maskSecrets = (name: string, value: unknown): unknown => (secretNames.has(name.toLowerCase()) ? "***" : value);

function textValue(value: unknown): string {
  if (typeof value === "string" && /^[^\s"=\p{Cc}]+$/u.test(value)) return value;
  return JSON.stringify(value);
}

/** @param record one line of pino with level, ts and msg; @returns the line of CONTRACT section 9, newline included */
export function formatLine(format: LogFormat, record: string): string {
  const { ts, level, msg = "", ...fields } = JSON.parse(record, maskSecrets) as Record<string, unknown>;
  const line =
    format === "json"
      ? JSON.stringify({ ts, level, msg, ...fields })
      : [ts, level, msg, ...Object.entries(fields).map(([name, value]) => `${name}=${textValue(value)}`)].join(" ");
  return `${escapeControls(line.replace(credentials, "$1***"))}\n`;
}
