// The key file as lines that can be changed: which line belongs to which id, and lines added, replaced or left out. Every byte of
// the other lines stays as it is. Does no I/O; what a line means is key-file.ts's business.
import { parseKeyFile, splitFields } from "./key-file.ts";

/** A key file in pieces; together they are its bytes, one character per byte. */
export type KeyLines = {
  /** Empty when there is none. */
  readonly byteOrderMark: string;
  /** Each with its line end; the last one may lack it. */
  readonly lines: readonly string[];
};

/** The four fields of a line as written, trimmed. An empty limits or expiry is left open. */
export type KeyFields = {
  readonly keyId: string;
  /** The key itself, or `sha256-` and its digest. */
  readonly secret: string;
  readonly limits: string;
  readonly expiry: string;
};

const utf8ByteOrderMark = "\xEF\xBB\xBF";

export function splitLines(bytes: Buffer): KeyLines {
  const text = bytes.toString("latin1");
  const byteOrderMark = text.startsWith(utf8ByteOrderMark) ? utf8ByteOrderMark : "";
  const lines = text.slice(byteOrderMark.length).match(/[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+$/g) ?? [];
  return { byteOrderMark, lines };
}

export function joinLines({ byteOrderMark, lines }: KeyLines): Buffer {
  return Buffer.from(byteOrderMark + lines.join(""), "latin1");
}

/** @returns undefined for a blank line or a comment */
export function readFields(line: string): KeyFields | undefined {
  const content = Buffer.from(line, "latin1").toString("utf8").trim();
  if (content === "" || content.startsWith("#")) return undefined;
  const [keyId = "", secret = "", limits = "", expiry = ""] = splitFields(content);
  return { keyId, secret, limits, expiry };
}

/** Indexes of every line of this id, also of those that the server refuses. */
export function findLines({ lines }: KeyLines, keyId: string): number[] {
  return lines.flatMap((line, index) => (readFields(line)?.keyId === keyId ? [index] : []));
}

/** One line, without its end. @throws Error naming the rule that it breaks; the key is not in the message */
export function formatLine({ keyId, secret, limits, expiry }: KeyFields): string {
  const line = [keyId, secret, limits, expiry].join(":").replace(/:+$/, "");
  const { entries, warnings } = parseKeyFile(line);
  if (warnings[0]) throw new Error(warnings[0].problem);
  if (entries.length !== 1 || entries[0]!.keyId !== keyId)
    throw new Error("key_id: not one that a line can begin with");
  return line;
}

export function appendLine({ byteOrderMark, lines }: KeyLines, line: string): KeyLines {
  const end = lineEnd(lines);
  const last = lines.at(-1);
  const ended = last === undefined || /[\r\n]$/.test(last) ? lines : [...lines.slice(0, -1), last + end];
  return { byteOrderMark, lines: [...ended, line + end] };
}

/** Puts the replacements (without line ends) where the first of these lines was, and leaves out the others. */
export function replaceLines(
  { byteOrderMark, lines }: KeyLines,
  indexes: readonly number[],
  replacements: readonly string[],
): KeyLines {
  const [first] = indexes;
  const gone = new Set(indexes);
  const ended = replacements.map((line) => line + lineEnd(lines));
  return {
    byteOrderMark,
    lines: lines.flatMap((line, index) => (index === first ? ended : gone.has(index) ? [] : [line])),
  };
}

/** The one that the file uses first. */
function lineEnd(lines: readonly string[]): string {
  return /\r\n|\n|\r/.exec(lines[0] ?? "")?.[0] ?? "\n";
}
