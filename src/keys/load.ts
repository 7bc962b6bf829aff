// From the key file to a KeyRing, at start and at every reload. Whatever is wrong with the file is logged: at start it lets nobody in,
// at a reload a file that cannot be read leaves the old keys in force.
import type { Config } from "../config.ts";
import { Failure } from "../errors.ts";
import type { Logger } from "../telemetry/log.ts";
import { type KeyEntry, parseKeyFile } from "./key-file.ts";
import { KeyRing, type Limits } from "./key-ring.ts";
import { createKeyFile, type ReadKeys, readKeyFile } from "./key-store.ts";

type KeyConfig = Pick<
  Config,
  "authEnabled" | "authKeysFile" | "adminKeyIds" | "maxRequestsPerMinute" | "maxTokensPerMinute"
>;

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
  if (!config.authEnabled) return new KeyRing("auth-disabled", defaults, { now });
  const reread = () => rereadEntries(config, log);
  return new KeyRing(loadEntries(config, log, announce), defaults, { now, reread });
}

function loadEntries(config: KeyConfig, log: Logger, announce: (text: string) => void): KeyEntry[] {
  const path = config.authKeysFile;
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
  return readEntries(found, config, log);
}

/** @throws Failure reload_failed; whoever asked for the reload logs it */
function rereadEntries(config: KeyConfig, log: Logger): KeyEntry[] {
  let found: ReadKeys | undefined;
  let cause: unknown = new Error("AUTH_KEYS_FILE is not there");
  try {
    found = readKeyFile(config.authKeysFile);
  } catch (error) {
    cause = error;
  }
  if (!found)
    throw new Failure("reload_failed", "The key file cannot be read; the keys loaded before stay.", { cause });
  return readEntries(found, config, log);
}

/** Logs what is wrong with the file, and how many keys it holds. */
function readEntries({ text, readableByOthers }: ReadKeys, config: KeyConfig, log: Logger): KeyEntry[] {
  const path = config.authKeysFile;
  if (readableByOthers) log.warn({ path }, "AUTH_KEYS_FILE can be read by every user of this machine; chmod 600 it");
  const { entries, warnings } = parseKeyFile(text);
  for (const { line, keyId, problem } of warnings) log.warn({ path, line, keyId }, `key refused: ${problem}`);
  const keyIds = [...new Set(entries.map((entry) => entry.keyId))];
  const strangers = config.adminKeyIds.filter((id) => !keyIds.includes(id));
  if (strangers.length > 0) log.warn({ ADMIN_KEY_IDS: strangers }, "ADMIN_KEY_IDS names ids without a key");
  if (entries.length > 0) log.info({ keys: entries.length, keyIds }, "API keys loaded");
  else log.error({ path }, "AUTH_KEYS_FILE holds no valid key: every API call is refused until it does");
  return entries;
}
