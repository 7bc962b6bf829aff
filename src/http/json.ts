// Bytes of a body -> one JSON object, or a Failure invalid_json that says why and at which byte.
// Refuses what JSON.parse lets through: bytes that are not UTF-8, deep nesting, more parts than can be looked at in a moment, unpaired
// surrogates, a root that is no object.
import { isAscii, isUtf8, transcode } from "node:buffer";
import { setImmediate as nextTurn } from "node:timers/promises";
import { TextDecoder } from "node:util";
import { Failure } from "../errors.ts";
import { findSyntaxError } from "./json-syntax.ts";

export type JsonObject = Record<string, unknown>;

const maxDepth = 64;

/**
 * Bounds on what is parsed and validated on the main thread, so that it takes no more than about 50 ms: objects, arrays, names and
 * texts; values of any kind, of which numbers cost least; members of one object, many of which make it slow.
 */
const maxParts = 100_000;
const maxValues = 500_000;
const maxMembers = 4096;

/** @throws Failure invalid_json */
export function parseJsonObject(body: Buffer): JsonObject {
  const parts = parsing(body);
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
  }
}

/** The same for a large body: between two parts of the work the event loop turns. @throws Failure invalid_json */
export async function parseInTurns(body: Buffer): Promise<JsonObject> {
  const parts = parsing(body);
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
    await nextTurn();
  }
}

/** Stops after each part that takes long for a large body. */
function* parsing(body: Buffer): Generator<undefined, JsonObject> {
  if (body.length === 0) throw invalid("it is empty", 0);
  if (!isUtf8(body)) throw invalid("it is not UTF-8", findNonUtf8(body));
  checkStructure(body);
  yield;
  const text = decode(body);
  yield;
  const value = yield* parse(text);
  yield;
  const surrogate = findUnpairedSurrogate(text);
  if (surrogate !== undefined) throw invalid("a string holds an unpaired surrogate", bytesBefore(text, surrogate));
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw invalid(`expected an object, got ${nameOf(value)}`, text.search(/\S/));
}

/** Of UTF-8. By way of UTF-16, as a Buffer's own decoder takes ten times as long for what is not ASCII. */
function decode(body: Buffer): string {
  return isAscii(body) ? body.toString("latin1") : transcode(body, "utf8", "utf16le").toString("utf16le");
}

function* parse(text: string): Generator<undefined, unknown> {
  try {
    return JSON.parse(text);
  } catch (cause) {
    yield;
    const { why, at } = findSyntaxError(text);
    throw invalid(why, bytesBefore(text, at), cause);
  }
}

function invalid(why: string, byte: number, cause?: unknown): Failure {
  return new Failure("invalid_json", `The body is not valid JSON: ${why} (byte ${byte}).`, { cause });
}

function bytesBefore(text: string, index: number): number {
  return Buffer.byteLength(text.slice(0, index));
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

/** Of text that may still be no JSON. Jumps over strings, so long ones cost little. @throws Failure invalid_json */
function checkStructure(body: Buffer): void {
  let depth = 0;
  let parts = 0;
  let values = 0;
  const members = new Uint32Array(maxDepth + 2);
  for (let at = 0; at < body.length; at++) {
    switch (body[at]) {
      case quote:
        at = endOfString(body, at);
        parts += 1;
        break;
      case comma:
        if (++values > maxValues) throw invalid(`it has more than ${maxValues} values`, at);
        continue;
      case colon:
        if (++members[depth]! > maxMembers) throw invalid(`an object has more than ${maxMembers} members`, at);
        continue;
      case openBrace:
      case openBracket:
        parts += 1;
        if (++depth > maxDepth) throw invalid(`it is nested deeper than ${maxDepth}`, at);
        members[depth] = 0;
        break;
      case closeBrace:
      case closeBracket:
        if (depth > 0) depth -= 1;
        continue;
      default:
        continue;
    }
    if (parts > maxParts) throw invalid(`it has more than ${maxParts} objects, arrays, names and texts`, at);
  }
}

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Position of the quote that closes the string opened at `start`; the body's end when none does. */
function endOfString(body: Buffer, start: number): number {
  const end = body.indexOf(quote, start + 1);
  if (end === -1) return body.length;
  return body[end - 1] === backslash ? endBehindEscapes(body, start + 1) : end;
}

/** Looks at every byte: of many escaped quotes, each would cost a search. */
function endBehindEscapes(body: Buffer, start: number): number {
  let at = start;
  while (at < body.length && body[at] !== quote) at += body[at] === backslash ? 2 : 1;
  return Math.min(at, body.length);
}

/** Some of a valid text, in pieces, up to an escape that is half a surrogate pair. */
const paired =
  /(?:[^\\]{1,256}|\\(?!u[dD][89a-fA-F])[\s\S]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}){1,256}/y;

function findUnpairedSurrogate(text: string): number | undefined {
  if (!/\\u[dD][89a-fA-F]/.test(text)) return undefined;
  let at = 0;
  paired.lastIndex = 0;
  while (paired.test(text)) at = paired.lastIndex;
  return at < text.length ? at : undefined;
}

const chunkBytes = 4096;

/** Position of the byte at which the body stops being UTF-8: the chunk is found first, then the byte in it. */
function findNonUtf8(body: Buffer): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let start = 0; start < body.length; start += chunkBytes) {
    if (!decodes(decoder, body.subarray(start, start + chunkBytes)))
      return findByte(body, startOfCharacter(body, start));
  }
  return body.length; // The last character is cut off.
}

function findByte(body: Buffer, start: number): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let at = start;
  while (at < body.length && decodes(decoder, body.subarray(at, at + 1))) at += 1;
  return at;
}

/** Steps back over continuation bytes, so that decoding can begin anew there. */
function startOfCharacter(body: Buffer, at: number): number {
  let start = at;
  while (start > 0 && at - start < 4 && (body[start]! & 0xc0) === 0x80) start -= 1;
  return start;
}

function decodes(decoder: TextDecoder, bytes: Buffer): boolean {
  try {
    decoder.decode(bytes, { stream: true });
    return true;
  } catch {
    return false; // TextDecoder throws for nothing else.
  }
}
