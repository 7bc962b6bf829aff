// The grammar of the key file (CONTRACT.md section 5.1): text -> entries and warnings. A line that breaks a rule is refused whole.
// Does no I/O, never throws, and no warning ever holds a key.
import { createHash } from "node:crypto";
import { expiryForms, parseExpiry } from "./expiry.ts";
import type { Limits } from "./key-ring.ts";

export type KeyEntry = {
  readonly keyId: string;
  /** SHA-256 of the key, 32 bytes. */
  readonly digest: Buffer;
  /** Only what the line says; the rest are the server's defaults. */
  readonly limits: Partial<Limits>;
  /** Unix milliseconds; the key is refused from then on. null = never. */
  readonly expiresAtMs: number | null;
  /** Line of the file, from 1. */
  readonly line: number;
};

export type KeyWarning = {
  readonly line: number;
  /** null: the line has none that may be shown. */
  readonly keyId: string | null;
  /** What breaks which rule. */
  readonly problem: string;
};

export type ParsedKeys = { readonly entries: KeyEntry[]; readonly warnings: KeyWarning[] };

const keyIdForm = /^[A-Za-z0-9_-]{1,64}$/;
const keyForm = /^[A-Za-z0-9_-]{16,128}$/;
const digestForm = /^sha256-([0-9a-fA-F]{64})$/;
const placeholder = /replace_with|change_me|changeme|your_api_key|your-api-key|placeholder/i;
const oneCharacter = /^(.)\1*$/;
const reservedId = "auth-disabled";

/** Why a line is refused. */
class LineProblem extends Error {}

/** @param text the file's content, decoded as UTF-8 */
export function parseKeyFile(text: string): ParsedKeys {
  const parsed: ParsedKeys = { entries: [], warnings: [] };
  const seen: SeenKeys = new Map();
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  for (const [index, line] of lines.entries()) {
    const content = line.trim();
    if (content !== "" && !content.startsWith("#")) readLine(content, index + 1, parsed, seen);
  }
  return parsed;
}

/** Where each key was met first, by its digest in hex. */
type SeenKeys = Map<string, { readonly line: number; readonly shownId: string | null }>;

function readLine(content: string, line: number, { entries, warnings }: ParsedKeys, seen: SeenKeys): void {
  const fields = splitFields(content);
  const keyId = showableId(fields);
  try {
    const entry = parseFields(fields, line);
    const digest = entry.digest.toString("hex");
    const first = seen.get(digest);
    if (first)
      throw new LineProblem(`the same key as line ${first.line} (${first.shownId ?? "id not shown"}), which is used`);
    seen.set(digest, { line, shownId: keyId });
    entries.push(entry);
  } catch (error) {
    if (!(error instanceof LineProblem)) throw error;
    warnings.push({ line, keyId, problem: error.message });
  }
}

/** Splits at the first three colons: the fourth field may hold more of them. */
export function splitFields(content: string): string[] {
  const [keyId, key, limits, ...expiry] = content.split(":");
  const fields = [keyId, key, limits, expiry.length > 0 ? expiry.join(":") : undefined];
  return fields.filter((field) => field !== undefined).map((field) => field.trim());
}

/**
 * A first field that may be a key in the wrong place is not shown, whatever else it is: one as long as a key must have something like
 * a key behind it.
 */
function showableId([keyId = "", key = ""]: readonly string[]): string | null {
  if (!keyIdForm.test(keyId) || keyId.startsWith("sk-") || keyId.length >= 32) return null;
  return keyId.length < 16 || keyForm.test(key) || digestForm.test(key) ? keyId : null;
}

function parseFields([keyId, key, limits = "", expiry = ""]: string[], line: number): KeyEntry {
  if (key === undefined) throw new LineProblem("no colon: expected key_id:api_key[:limits][:expiry]");
  if (!keyIdForm.test(keyId!)) throw new LineProblem("key_id: expected 1 to 64 letters, digits, - or _");
  if (keyId === reservedId) throw new LineProblem(`key_id: ${reservedId} is reserved`);
  return {
    keyId: keyId!,
    digest: digestOf(key),
    limits: parseLimits(limits),
    expiresAtMs: expiry === "" ? null : expiryOf(expiry),
    line,
  };
}

function digestOf(key: string): Buffer {
  const digest = digestForm.exec(key)?.[1];
  if (digest !== undefined) return Buffer.from(digest, "hex");
  if (key.startsWith("sha256-")) throw new LineProblem("api_key: expected 64 hex digits after sha256-");
  if (!keyForm.test(key)) throw new LineProblem("api_key: expected 16 to 128 letters, digits, - or _");
  if (placeholder.test(key) || oneCharacter.test(key))
    throw new LineProblem("api_key: this is a placeholder, not a key");
  return createHash("sha256").update(key).digest();
}

function parseLimits(text: string): Partial<Limits> {
  const parts = text.split("/").map((part) => part.trim());
  if (parts.length > 3) throw new LineProblem("limits: expected at most RPM/TPM/CONCURRENT");
  const [requestsPerMinute, tokensPerMinute, concurrentRequests] = parts.map(parseCount);
  if (requestsPerMinute === 0) throw new LineProblem("limits: RPM must be at least 1");
  const limits = { requestsPerMinute, tokensPerMinute, concurrentRequests };
  return Object.fromEntries(Object.entries(limits).filter(([, count]) => count !== undefined));
}

function parseCount(part: string): number | undefined {
  if (part === "") return undefined;
  if (/^\d{1,15}$/.test(part)) return Number(part);
  const hint = /^\d{4}-\d{2}/.test(part) ? "; an expiry is the fourth field: key_id:api_key::expiry" : "";
  throw new LineProblem(`limits: expected whole numbers as RPM, RPM/TPM or RPM/TPM/CONCURRENT${hint}`);
}

function expiryOf(text: string): number {
  const expiresAtMs = parseExpiry(text);
  if (expiresAtMs === undefined) throw new LineProblem(`expiry: not an existing moment written as ${expiryForms}`);
  return expiresAtMs;
}
