// Which top-level fields of a request have no effect here although the caller might expect one, and the header that says so.
import type { JsonObject } from "./validate.ts";

/** Without effect by nature: nobody is told (API.md section 2, class 2). */
const silent: ReadonlySet<string> = new Set([
  "user",
  "safety_identifier",
  "metadata",
  "prompt_cache_key",
  "prompt_cache_retention",
  "prompt_cache_options",
  "cache_control",
]);

const maxHeaderBytes = 1024;

/** Names in the body's order. @param known fields that the route reads or refuses */
export function ignoredFields(body: JsonObject, known: ReadonlySet<string>): string[] {
  return Object.entries(body).flatMap(([name, value]) => (isIgnored(name, value, known) ? [name] : []));
}

function isIgnored(name: string, value: unknown, known: ReadonlySet<string>): boolean {
  if (name === "service_tier") return value !== "auto" && value !== "default";
  return !silent.has(name) && !known.has(name);
}

/** Value of x-ignored-parameters, at most 1024 bytes; undefined when there is nothing to report. */
export function formatIgnored(names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined;
  let header = "";
  for (const name of names) {
    // Longer names are cut before they are cleaned, so that a huge one costs nothing.
    const safe = name.slice(0, maxHeaderBytes).replace(/[^A-Za-z0-9_.[\]=-]/gu, "?");
    header += header === "" ? safe : `, ${safe}`;
    if (header.length > maxHeaderBytes) return `${header.slice(0, maxHeaderBytes - 3)}...`;
  }
  return header;
}
