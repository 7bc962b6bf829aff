// Reads the API key out of a request's headers (CONTRACT.md section 5.2). Looks at nothing else: not at the query, not at cookies.
import type { IncomingHttpHeaders } from "node:http";
import type { Credential } from "../keys/key-ring.ts";

const keyForm = /^[A-Za-z0-9_-]{16,128}$/;
const howTo = "send it as 'Authorization: Bearer <key>' or as 'x-api-key: <key>'";

/**
 * The key of `Authorization: Bearer K`, `Authorization: K` or `x-api-key: K`. When Authorization is there it alone is judged.
 * @returns the key, or the problem as one sentence for the caller
 */
export function readCredential(headers: IncomingHttpHeaders): Credential {
  const apiKey = headers["x-api-key"];
  if (headers.authorization !== undefined) return judge("Authorization", keyOfAuthorization(headers.authorization));
  if (apiKey !== undefined) return judge("x-api-key", String(apiKey).trim());
  return { problem: `Missing API key: ${howTo}.` };
}

function judge(header: string, key: string): Credential {
  if (key === "") return { problem: `The ${header} header is empty: ${howTo}.` };
  if (!keyForm.test(key)) return { problem: `Malformed credential in the ${header} header: ${howTo}.` };
  return { key };
}

/** What stands behind `Bearer`, in any case and with any spaces; without that word the whole value, also when that is no key. */
function keyOfAuthorization(value: string): string {
  return value.trim().replace(/^bearer(\s+|$)/i, "");
}
