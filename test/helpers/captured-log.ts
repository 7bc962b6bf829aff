// A logger whose lines a test can read.
import { type Logger, pino } from "pino";

export type CapturedLog = {
  readonly log: Logger;
  readonly text: () => string;
  readonly lines: () => Record<string, unknown>[];
};

export function capturedLog(): CapturedLog {
  const written: string[] = [];
  const log = pino(
    { level: "debug", base: null, formatters: { level: (level) => ({ level }) } },
    { write: (line: string) => written.push(line) },
  );
  return { log, text: () => written.join(""), lines: () => written.map((line) => JSON.parse(line)) };
}
