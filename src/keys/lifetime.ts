// How long a key shall live, as an operator says it on the command line: a duration from now, or a moment as the key file has it.
import { expiryForms, parseExpiry } from "./expiry.ts";

const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const durationForm = /^([1-9]\d{0,8})([mhd])$/;

export const durationForms = "<n>m, <n>h or <n>d";
export const lifetimeForms = `${durationForms}, or ${expiryForms}`;

/** @returns milliseconds, or undefined when the text is no duration */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = durationForm.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * unitMs[unit as keyof typeof unitMs];
}

/**
 * The expiry to write into the key file: a duration becomes a moment in UTC, a moment stays as it was written.
 * @param nowMs Unix milliseconds @returns undefined when the text is neither, or lies beyond the year 9999
 */
export function expiryFrom(text: string, nowMs: number): string | undefined {
  const durationMs = parseDuration(text);
  const expiry = durationMs === undefined ? text.trim() : formatMoment(nowMs + durationMs);
  return parseExpiry(expiry) === undefined ? undefined : expiry;
}

/** `2026-01-31T23:59:59Z`; a part of a second counts as a whole one. @param timeMs Unix milliseconds */
export function formatMoment(timeMs: number): string {
  const time = new Date(Math.ceil(timeMs / 1000) * 1000);
  return Number.isNaN(time.getTime()) ? "" : time.toISOString().replace(/\.\d+Z$/, "Z");
}
