// Where the access log's lines go: LOG_DIR/api_access.log, rotated like the other logs. A line that cannot be written is lost with a
// warning in the server log, at most one a minute; no request fails for it.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { type AccessRecord, formatAccessLine } from "./access-line.ts";
import type { Logger } from "./log.ts";
import { LogFile } from "./log-file.ts";

type AccessConfig = Pick<Config, "logDir" | "logFormat" | "logMaxBytes" | "logMaxFiles">;

/** Takes the record of every call that is over. */
export type AccessSink = { readonly write: (record: AccessRecord) => void };

/** For servers that keep no access log. */
export const noAccessLog: AccessSink = { write: () => {} };

const warnEveryMs = 60_000;

export class AccessFile implements AccessSink {
  readonly #config: AccessConfig;
  readonly #log: Logger;
  #file: LogFile | undefined;
  #closed = false;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  /** Opens the file. One that cannot be opened is a warning, and tried again with every line. */
  constructor(config: AccessConfig, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#attempt(() => this.#opened());
  }

  /** A record that comes after close() is dropped. */
  write(record: AccessRecord): void {
    if (this.#closed) return;
    this.#attempt(() => this.#opened().write(formatAccessLine(this.#config.logFormat, record)));
  }

  /** The file may have been moved away (logrotate): goes on in one of the usual name. */
  reopen(): void {
    this.#attempt(() => this.#file?.reopen());
  }

  close(): void {
    this.#closed = true;
    this.#file?.close();
    this.#file = undefined;
  }

  #opened(): LogFile {
    if (this.#file) return this.#file;
    const { logDir, logMaxBytes: maxBytes, logMaxFiles: maxFiles } = this.#config;
    mkdirSync(logDir, { recursive: true });
    this.#file = new LogFile(join(logDir, "api_access.log"), { maxBytes, maxFiles });
    return this.#file;
  }

  #attempt(work: () => unknown): void {
    try {
      work();
    } catch (error) {
      this.#warn(error as Error);
    }
  }

  #warn(error: Error): void {
    const now = Date.now();
    if (now - this.#warnedAtMs < warnEveryMs) return;
    this.#warnedAtMs = now;
    this.#log.warn({ reason: error.message }, "cannot write the access log; lines may be lost");
  }
}
