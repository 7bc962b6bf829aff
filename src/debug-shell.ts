// DEBUG_SHELL: shows where the program runs and with which environment, then waits to be looked at. Opens no port and no model.
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Setting } from "./config/setting.ts";
import { type Config, type Environment, table } from "./config.ts";
import type { Stop } from "./stop.ts";
import type { Logger } from "./telemetry/log.ts";

const waitMs = 300_000;

/** Sorted by name. Only values of our own variables that are no secrets are shown, all else is `***`. */
export function describeEnvironment(env: Environment): Record<string, string> {
  const settings: Readonly<Record<string, Setting>> = table;
  const isShown = (name: string) => Object.hasOwn(settings, name) && !settings[name]!.secret;
  const shown = Object.keys(env)
    .sort()
    .map((name) => [name, isShown(name) ? (env[name] ?? "") : "***"]);
  return Object.fromEntries(shown) as Record<string, string>;
}

/** Returns the exit code after 300 seconds, or when a stop is asked for. */
export async function debugShell(env: Environment, config: Config, log: Logger, stop: Stop): Promise<number> {
  log.warn(
    { instanceId: config.instanceId, hostname: hostname() },
    `DEBUG_SHELL=true: nothing is served; the process ends in ${waitMs / 1000} s`,
  );
  for (const [name, value] of Object.entries(describeEnvironment(env))) log.info(`${name}=${value}`);
  await Promise.race([sleep(waitMs), stop.requested()]);
  return 0;
}
