// How long the main thread has run. The event loop's own figures count the time in which it would run and waits for a processor, too.
import { readFileSync } from "node:fs";

const file = `/proc/self/task/${process.pid}/schedstat`;

/** Seconds of CPU time since the process began; undefined where the system does not tell. */
export function mainThreadCpuSeconds(): number | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return Number(readFileSync(file, "latin1").split(" ")[0]) / 1e9;
  } catch (error) {
    // A kernel built without it, or a sandbox that hides it.
    if (["ENOENT", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
