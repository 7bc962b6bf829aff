// The key file as a table for people: ids, limits, expiries and what each line is worth. It never holds a key.
import { type KeyEntry, type KeyWarning, parseKeyFile } from "../keys/key-file.ts";
import { formatMoment } from "../keys/lifetime.ts";

type Row = readonly [keyId: string, limits: string, expiry: string, status: string];

export type KeyTable = {
  readonly table: string;
  /** One line for each refused line of the file, saying why. */
  readonly problems: readonly string[];
};

/** @param text the key file's content @param nowMs Unix milliseconds */
export function describeKeys(text: string, nowMs: number): KeyTable {
  const { entries, warnings } = parseKeyFile(text);
  const active = entries.filter((entry) => !isExpired(entry, nowMs)).length;
  const rows = [...entries, ...warnings]
    .sort((a, b) => a.line - b.line)
    .map((item) => ("problem" in item ? invalidRow(item) : validRow(item, nowMs)));
  const counts = [`${active} valid ${active === 1 ? "key" : "keys"}`];
  if (active < entries.length) counts.push(`${entries.length - active} expired`);
  if (warnings.length > 0) counts.push(`${warnings.length} invalid`);
  const header: Row = ["KEY_ID", "LIMITS", "EXPIRY", "STATUS"];
  return {
    table: [...(rows.length > 0 ? align([header, ...rows]) : []), counts.join(", ")].join("\n"),
    problems: warnings.map(
      ({ line, keyId, problem }) => `line ${line}${keyId === null ? "" : ` (${keyId})`}: ${problem}`,
    ),
  };
}

const isExpired = ({ expiresAtMs }: KeyEntry, nowMs: number) => expiresAtMs !== null && nowMs >= expiresAtMs;

function validRow(entry: KeyEntry, nowMs: number): Row {
  const { keyId, limits, expiresAtMs, line } = entry;
  // A valid line whose fields were swapped has its key in front.
  const shownId = keyId.startsWith("sk-") ? "sk-***" : keyId;
  const { requestsPerMinute, tokensPerMinute, concurrentRequests } = limits;
  const parts = [requestsPerMinute, tokensPerMinute, concurrentRequests].map((count) => count ?? "-");
  const expiry = expiresAtMs === null ? "never" : formatMoment(expiresAtMs);
  const status = isExpired(entry, nowMs) ? "expired" : "active";
  return [
    shownId,
    parts.every((part) => part === "-") ? "default" : parts.join("/"),
    expiry,
    `${status} (line ${line})`,
  ];
}

function invalidRow({ keyId, line }: KeyWarning): Row {
  return [keyId ?? "?", "", "", `invalid (line ${line})`];
}

function align(rows: readonly Row[]): string[] {
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
}
