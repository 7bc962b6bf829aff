// What the keys command does to a key file: one function per subcommand, from lines to lines. Does no I/O and prints nothing.
import { createHash } from "node:crypto";
import { parseExpiry } from "./expiry.ts";
import { parseKeyFile } from "./key-file.ts";
import {
  appendLine,
  findLines,
  formatLine,
  joinLines,
  type KeyFields,
  type KeyLines,
  readFields,
  replaceLines,
} from "./key-lines.ts";
import { formatMoment } from "./lifetime.ts";

export type NewKey = {
  readonly keyId: string;
  /** The key itself; the file gets it, or only its digest. */
  readonly key: string;
  readonly hashed: boolean;
  /** As the file has them; empty = left open. */
  readonly limits: string;
  readonly expiry: string;
};

/** What a rotated key does not take over from the old one; undefined = taken over. */
export type Rotation = {
  readonly keyId: string;
  readonly key: string;
  readonly hashed: boolean | undefined;
  readonly limits: string | undefined;
  /** Instead of `limits`: the first part alone. */
  readonly requestsPerMinute: string | undefined;
  readonly expiry: string | undefined;
  /** Unix milliseconds until which the old key counts too; undefined: it ends with its replacement. */
  readonly keepOldUntilMs: number | undefined;
};

/** @throws Error when the file has that id, or a value breaks a rule of the file */
export function addKey(file: KeyLines, { key, hashed, ...fields }: NewKey): KeyLines {
  const [taken] = findLines(file, fields.keyId);
  if (taken !== undefined) {
    throw new Error(`${fields.keyId} exists already, in line ${taken + 1}; 'keys rotate' gives it a new key`);
  }
  return appendLine(file, formatLine({ ...fields, secret: secretOf(key, hashed) }));
}

/** @throws Error when the file has no such id */
export function removeKey(file: KeyLines, keyId: string): KeyLines {
  return replaceLines(file, expectLines(file, keyId), []);
}

/** Replaces every line of the id by one with the new key. @throws Error when there is none, or a value breaks a rule of the file */
export function rotateKey(file: KeyLines, rotation: Rotation): KeyLines {
  const { keyId, key, keepOldUntilMs } = rotation;
  const indexes = expectLines(file, keyId);
  const valid = new Set(loadedEntries(file).map(({ line }) => line - 1));
  const model = indexes.find((index) => valid.has(index)) ?? indexes[0]!;
  const old = readFields(file.lines[model]!)!;
  const hashed = rotation.hashed ?? old.secret.startsWith("sha256-");
  const fields = { keyId, limits: rotatedLimits(old.limits, rotation), expiry: rotation.expiry ?? old.expiry };
  const replacements = [formatRotated({ ...fields, secret: secretOf(key, hashed) }, model)];
  if (keepOldUntilMs !== undefined) {
    if (!valid.has(model)) throw new Error(`${keyId} has no valid key that could be kept (line ${model + 1})`);
    replacements.push(shortened(file.lines[model]!, old, keepOldUntilMs));
  }
  return replaceLines(file, indexes, replacements);
}

/** Whether the first key of this id, the new one after a change, counts no more. @param nowMs Unix milliseconds */
export function isExpired(file: KeyLines, keyId: string, nowMs: number): boolean {
  const expiresAtMs = loadedEntries(file).find((entry) => entry.keyId === keyId)?.expiresAtMs ?? null;
  return expiresAtMs !== null && nowMs >= expiresAtMs;
}

function expectLines(file: KeyLines, keyId: string): number[] {
  const indexes = findLines(file, keyId);
  if (indexes.length === 0) throw new Error(`no key named ${keyId}; 'keys list' shows those there are`);
  return indexes;
}

/** What the server makes of the file. */
const loadedEntries = (file: KeyLines) => parseKeyFile(joinLines(file).toString("utf8")).entries;

function rotatedLimits(old: string, { limits, requestsPerMinute }: Rotation): string {
  if (limits !== undefined) return limits;
  if (requestsPerMinute === undefined) return old;
  return [requestsPerMinute, ...old.split("/").slice(1)].join("/");
}

/** A line that was refused may hold limits or an expiry that cannot be taken over. */
function formatRotated(fields: KeyFields, model: number): string {
  try {
    return formatLine(fields);
  } catch (error) {
    throw new Error(`line ${model + 1}, ${(error as Error).message}; say what is right with --limits and --expires`);
  }
}

/** The old line, with an earlier expiry if its own is later; else as it is, without its line end. */
function shortened(line: string, old: KeyFields, untilMs: number): string {
  const own = parseExpiry(old.expiry);
  if (own !== undefined && own <= untilMs) return line.replace(/[\r\n]+$/, "");
  return formatLine({ ...old, expiry: formatMoment(untilMs) });
}

function secretOf(key: string, hashed: boolean): string {
  return hashed ? `sha256-${createHash("sha256").update(key).digest("hex")}` : key;
}
