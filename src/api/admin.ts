// Who counts as an administrator (CONTRACT.md section 5.4): the key ids of ADMIN_KEY_IDS, or every valid key when it names none.
import { Failure } from "../errors.ts";
import type { Identity } from "../keys/key-ring.ts";
import type { Parts } from "./parts.ts";

/** @param identity of a caller who was let in; with AUTH_ENABLED=false nobody is kept out here */
export function isAdmin({ keyId }: Identity, { config, keys }: Pick<Parts, "config" | "keys">): boolean {
  return !keys.enabled || config.adminKeyIds.length === 0 || config.adminKeyIds.includes(keyId);
}

/** @throws Failure admin_required */
export function expectAdmin(identity: Identity, parts: Pick<Parts, "config" | "keys">): void {
  if (!isAdmin(identity, parts)) throw new Failure("admin_required", "This route needs the key of an administrator.");
}
