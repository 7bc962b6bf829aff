// Who may call: holds the SHA-256 digests of the keys and tells a credential's identity, or refuses it with 401.
// Never holds, logs or returns a key. Which headers carry one is http/bearer.ts's business.
import { createHash, timingSafeEqual } from "node:crypto";
import { Failure } from "../errors.ts";
import type { KeyEntry } from "./key-file.ts";

/** A key's quotas, defaults filled in. */
export type Limits = {
  readonly requestsPerMinute: number;
  /** 0 = off. */
  readonly tokensPerMinute: number;
  /** 0 = no limit. */
  readonly concurrentRequests: number;
};

/** The key that a caller sent, or why there is none: one sentence for the caller. */
export type Credential =
  | { readonly key: string; readonly problem?: undefined }
  | { readonly key?: undefined; readonly problem: string };

export type Identity = {
  /** Public name of the credential: quotas, fairness, cache scope and logs use it. */
  readonly keyId: string;
  /** null: no quotas. */
  readonly limits: Limits | null;
};

/** With AUTH_ENABLED=false everybody is this one; a key file cannot use the name. */
export const authDisabled: Identity = { keyId: "auth-disabled", limits: null };

/** The caller of a public route, of whom nothing is asked. */
export const anonymous: Identity = { keyId: "-", limits: null };

export type KeyRingOptions = {
  /** Unix time in milliseconds, for expiries. */
  readonly now?: () => number;
  /** The keys as their source has them now; throws Failure reload_failed when it cannot be read. By default the same again. */
  readonly reread?: () => readonly KeyEntry[];
  /** Compares two digests in a time that does not depend on them. */
  readonly equal?: (stored: Buffer, sent: Buffer) => boolean;
};

export class KeyRing {
  readonly enabled: boolean;
  #entries: readonly KeyEntry[];
  readonly #defaults: Limits;
  readonly #options: Required<KeyRingOptions>;

  /**
   * @param entries the keys that count, or "auth-disabled": everybody is let in
   * @param defaults limits of a key whose line leaves them open
   */
  constructor(entries: readonly KeyEntry[] | "auth-disabled", defaults: Limits, options: KeyRingOptions = {}) {
    this.enabled = entries !== "auth-disabled";
    this.#entries = entries === "auth-disabled" ? [] : entries;
    this.#defaults = defaults;
    this.#options = { now: Date.now, reread: () => this.#entries, equal: timingSafeEqual, ...options };
  }

  /** Number of keys, expired ones included. */
  get size(): number {
    return this.#entries.length;
  }

  /**
   * Puts the keys as they are now in the place of the old ones, in one step: it waits for nothing, so no call meets a mixture, and
   * reloads come one after another. Calls that were let in go on; quota counts are kept by key id, elsewhere.
   * @returns how many keys there are now @throws Failure reload_failed (the old keys stay) or reload_disabled
   */
  reload(): number {
    if (!this.enabled) throw new Failure("reload_disabled", "AUTH_ENABLED=false: this server has no keys to reload.");
    this.#entries = this.#options.reread();
    return this.size;
  }

  /**
   * Judges what a caller sent; nothing else of the request counts.
   * @throws Failure invalid_api_key, whose message tells apart why
   */
  authenticate(credential: Credential): Identity {
    if (!this.enabled) return authDisabled;
    if (this.#entries.length === 0) throw refusal("No API keys are loaded on this server, so every call is refused.");
    if (credential.problem !== undefined) throw refusal(credential.problem);
    const entry = this.#match(credential.key);
    if (!entry) throw refusal("Unknown API key.");
    if (entry.expiresAtMs !== null && this.#options.now() >= entry.expiresAtMs)
      throw refusal("This API key has expired.");
    return { keyId: entry.keyId, limits: { ...this.#defaults, ...entry.limits } };
  }

  /** Compares with every stored digest and never stops early, so that time tells nothing about which key came close. */
  #match(key: string): KeyEntry | undefined {
    const digest = createHash("sha256").update(key).digest();
    let match: KeyEntry | undefined;
    for (const entry of this.#entries) {
      if (this.#options.equal(entry.digest, digest)) match ??= entry;
    }
    return match;
  }
}

function refusal(message: string): Failure {
  return new Failure("invalid_api_key", message, {
    param: "authorization",
    headers: { "WWW-Authenticate": "Bearer" },
  });
}
