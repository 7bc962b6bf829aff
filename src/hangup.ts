// What SIGHUP does to a running server: log files are opened anew, for a log rotation may have moved them, and the key file is read
// again. It never ends the process.
import type { KeyRing } from "./keys/key-ring.ts";
import type { Logger } from "./telemetry/log.ts";

/** @param files whose lines shall go on in files of the usual names */
export function watchHangup(log: Logger, keys: KeyRing, files: readonly { readonly reopen: () => void }[]): void {
  process.on("SIGHUP", () => {
    for (const file of files) file.reopen();
    if (keys.enabled) reloadKeys(log, keys);
    else log.info("SIGHUP: log files opened anew");
  });
}

function reloadKeys(log: Logger, keys: KeyRing): void {
  try {
    log.info({ keys: keys.reload() }, "SIGHUP: log files opened anew, key file read again");
  } catch (error) {
    log.error({ err: error }, "SIGHUP: log files opened anew, but the keys could not be reloaded; the old ones stay");
  }
}
