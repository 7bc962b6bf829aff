// The program's one logger: pino's interface, lines on stderr and in the boot and server files. It never throws and never prints a key.
import { join } from "node:path";
import { type Logger, pino } from "pino";
import type { Config } from "../config.ts";
import { type LogFile, type LogFileLimits, openStampedLog } from "./log-file.ts";
import { formatLine, type LogFormat } from "./log-line.ts";

export type { Logger } from "pino";

/** The settings the log needs. Names are already fit for file names (config.ts). */
export type LogConfig = Pick<
  Config,
  "logDir" | "logName" | "instanceId" | "logFormat" | "logLevel" | "logMaxBytes" | "logMaxFiles"
>;

export type Log = {
  readonly logger: Logger;
  /** The start is over, well or badly: the boot file ends here. */
  endBoot(): void;
  /** Goes on in files of the usual names, when the open ones were moved away. */
  reopen(): void;
  /** Closes the files; lines logged later reach stderr only. */
  close(): void;
};

const warnEveryMs = 60_000;

/** @param stderr where lines go besides the files; tests pass their own */
export function createLog(config: LogConfig, stderr: NodeJS.WritableStream = process.stderr): Log {
  const output = new LogOutput(config.logFormat, stderr);
  const logger = pino(
    {
      level: config.logLevel,
      base: null,
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    output,
  );
  // Whoever read stderr may have gone (EPIPE); the files go on.
  stderr.on("error", (error: Error) => output.reportProblem("stderr", error));
  try {
    output.openFiles(config);
  } catch (error) {
    output.closeAll();
    logger.warn({ err: error }, `cannot write log files under LOG_DIR=${config.logDir}; logging to stderr only`);
  }
  return {
    logger,
    endBoot: () => output.closeFile("boot"),
    reopen: () => output.reopenFiles(),
    close: () => output.closeAll(),
  };
}

/** For tests: logs nothing. */
export function silentLog(): Logger {
  return pino({ level: "silent" });
}

/** What pino writes to: each line goes to stderr and to every open file at once. */
class LogOutput {
  readonly #format: LogFormat;
  readonly #stderr: NodeJS.WritableStream;
  readonly #files = new Map<string, LogFile>();
  #problemReportedAtMs = Number.NEGATIVE_INFINITY;

  constructor(format: LogFormat, stderr: NodeJS.WritableStream) {
    this.#format = format;
    this.#stderr = stderr;
  }

  openFiles(config: LogConfig): void {
    const limits: LogFileLimits = { maxBytes: config.logMaxBytes, maxFiles: config.logMaxFiles };
    const start = new Date();
    const open = (kind: string, folder: string) =>
      this.#files.set(kind, openStampedLog(join(config.logDir, folder), kind, config.instanceId, limits, start));
    open("boot", "_boot");
    open("server", config.logName);
  }

  write(record: string): void {
    const line = formatLine(this.#format, record);
    this.#stderr.write(line);
    this.#writeFiles(line);
  }

  /** At most once a minute, whatever fails: a full disk must not flood the other outputs. */
  reportProblem(where: string, error: Error): void {
    const now = Date.now();
    if (now - this.#problemReportedAtMs < warnEveryMs) return;
    this.#problemReportedAtMs = now;
    const msg = `cannot write the log to ${where}; lines may be lost`;
    const line = formatLine(
      this.#format,
      JSON.stringify({ ts: new Date(), level: "warn", msg, reason: error.message }),
    );
    if (where === "stderr") this.#writeFiles(line);
    else this.#stderr.write(line);
  }

  closeFile(kind: string): void {
    this.#files.get(kind)?.close();
    this.#files.delete(kind);
  }

  closeAll(): void {
    for (const kind of [...this.#files.keys()]) this.closeFile(kind);
  }

  reopenFiles(): void {
    this.#withEachFile((file) => file.reopen());
  }

  #writeFiles(line: string): void {
    this.#withEachFile((file) => file.write(line));
  }

  #withEachFile(work: (file: LogFile) => void): void {
    for (const file of this.#files.values()) {
      try {
        work(file);
      } catch (error) {
        this.reportProblem(file.path, error as Error);
      }
    }
  }
}
