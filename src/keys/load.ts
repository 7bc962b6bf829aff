// From the key file to a KeyRing at start, failing closed: whatever is wrong with the file is logged, and lets nobody in.
import type { Config } from "../config.ts";
import type { Logger } from "../telemetry/log.ts";
import { type KeyEntry, parseKeyFile } from "./key-file.ts";
import { KeyRing, type Limits } from "./key-ring.ts";
import { createKeyFile, type ReadKeys, readKeyFile } from "./key-store.ts";

type KeyConfig = Pick<Config, "authEnabled" | "authKeysFile" | "maxRequestsPerMinute" | "maxTokensPerMinute">;

/**
 * The keys at start. Whatever is wrong with the file, the server comes up and refuses every call until it is put right.
 * @param now Unix time in milliseconds, for expiries
 * @param announce gets the text with a newly made key, once; it must not end in a log
 */
export function loadKeyRing(
  config: KeyConfig,
  log: Logger,
  now: () => number = Date.now,
  announce: (text: string) => void = (text) => process.stderr.write(text),
): KeyRing {
  const defaults: Limits = {
    requestsPerMinute: config.maxRequestsPerMinute,
    tokensPerMinute: config.maxTokensPerMinute,
    concurrentRequests: 0,
  };
  if (!config.authEnabled) {
    log.warn("AUTH_ENABLED=false: everybody who reaches PORT may use everything, without quotas");
    return new KeyRing("auth-disabled", defaults, now);
  }
  return new KeyRing(loadEntries(config.authKeysFile, log, announce), defaults, now);
}

function loadEntries(path: string, log: Logger, announce: (text: string) => void): KeyEntry[] {
  let found: ReadKeys;
  try {
    found = readKeyFile(path) ?? createKeyFile(path, announce);
  } catch (error) {
    log.error(
      { err: error, path },
      "cannot read or create AUTH_KEYS_FILE: every API call is refused until it is fixed",
    );
    return [];
  }
  if (found.readableByOthers)
    log.warn({ path }, "AUTH_KEYS_FILE can be read by every user of this machine; chmod 600 it");
  const { entries, warnings } = parseKeyFile(found.text);
  for (const { line, keyId, problem } of warnings) log.warn({ path, line, keyId }, `key refused: ${problem}`);
  const keyIds = [...new Set(entries.map((entry) => entry.keyId))];
  if (entries.length > 0) log.info({ keys: entries.length, keyIds }, "API keys loaded");
  else log.error({ path }, "AUTH_KEYS_FILE holds no valid key: every API call is refused until it does");
  return entries;
}
