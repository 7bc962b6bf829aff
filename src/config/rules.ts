// What valid values mean for each other and for the operator: contradictions, and settings that deserve a warning.
import type { Config } from "../config.ts";

type Findings = { readonly problems: string[]; readonly warnings: string[] };

/** Adds a line for every pair of values that contradict each other, and for every one the operator should think about. */
export function findConflicts(config: Partial<Config>, { problems, warnings }: Findings): void {
  const { port, portHealth, batch, ubatch, authEnabled } = config;
  if (port !== undefined && port === portHealth) {
    problems.push(`PORT and PORT_HEALTH: both are ${port}; they must differ`);
  }
  if (batch !== undefined && ubatch !== undefined && ubatch > batch) {
    problems.push(`UBATCH: ${ubatch} is larger than BATCH, ${batch}; expected at most BATCH`);
  }
  if (config.flashAttn === "off" && config.kvTypeV !== undefined && config.kvTypeV !== "f16") {
    problems.push(`KV_TYPE_V: ${config.kvTypeV} needs flash attention; set FLASH_ATTN=auto or on, or KV_TYPE_V=f16`);
  }
  if (authEnabled === false && config.metricsAuthEnabled) {
    problems.push("METRICS_AUTH_ENABLED: true needs AUTH_ENABLED=true, which is false");
  }
  if (authEnabled === false)
    warnings.push("AUTH_ENABLED=false: everyone who reaches the port is served, without quotas");
  if (config.logPrompts) {
    const level = config.logLevel === "info" || config.logLevel === "debug" ? "" : "; it needs LOG_LEVEL=info or debug";
    warnings.push(`LOG_PROMPTS=true: prompts and answers of all callers are written to the server log${level}`);
  }
  if (config.mockBackend) warnings.push("MOCK_BACKEND=true: answers come from a script, not from a model");
  for (const origin of config.corsOrigins ?? []) {
    if (origin !== "*" && !/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(origin)) {
      warnings.push(
        `CORS_ORIGINS: ${JSON.stringify(origin)} names no scheme, so no page will match it; write https://host`,
      );
    }
  }
  if (config.modelPath !== undefined && config.modelName !== undefined) {
    warnings.push("MODEL_NAME is set, but MODEL_PATH wins");
  }
}
