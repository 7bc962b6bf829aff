// The values of the keys command's options: what the server's own parser would refuse is wrong usage here, too.
import { InvalidArgumentError } from "commander";
import { parseKeyFile } from "../keys/key-file.ts";
import { durationForms, expiryFrom, lifetimeForms, parseDuration } from "../keys/lifetime.ts";

export { durationForms, lifetimeForms } from "../keys/lifetime.ts";

/** Stands where a line needs a key. */
const anyKey = "0123456789abcdef";

export function path(text: string): string {
  if (text === "" || text.includes("\0")) throw new InvalidArgumentError("Expected a path.");
  return text;
}

export function keyId(text: string): string {
  const [entry] = parseKeyFile(`${text}:${anyKey}`).entries;
  if (entry?.keyId === text) return text;
  throw new InvalidArgumentError("Expected 1 to 64 letters, digits, - or _, and not auth-disabled.");
}

/** @returns the field as the key file has it */
export function limits(text: string): string {
  const { entries, warnings } = parseKeyFile(`a:${anyKey}:${text}`);
  // More than the one field would be text that reaches into the next field or line.
  if (entries.length === 1 && warnings.length === 0 && /^[\d/ ]*$/.test(text)) return text.trim();
  throw new InvalidArgumentError("Expected R, R/T or R/T/C, whole numbers with R at least 1; a part may be empty.");
}

export function rateLimit(text: string): string {
  if (/^\d+$/.test(text) && limits(text)) return text;
  throw new InvalidArgumentError("Expected a whole number of at least 1.");
}

/** @returns the field as the key file has it */
export function lifetime(text: string): string {
  const expiry = expiryFrom(text, Date.now());
  if (expiry === undefined) throw new InvalidArgumentError(`Expected ${lifetimeForms}.`);
  return expiry;
}

export function lifetimeOrNever(text: string): string {
  return text === "never" ? "" : lifetime(text);
}

/** @returns milliseconds */
export function duration(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined) throw new InvalidArgumentError(`Expected ${durationForms}.`);
  return milliseconds;
}
