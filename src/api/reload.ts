// POST /reload: reads the key file again, like SIGHUP does. The body of the request is not looked at.
import type { Handler } from "./handler.ts";

/** @throws Failure reload_failed (the old keys stay) or reload_disabled */
export const reload: Handler = (ctx, { keys, log }) => {
  const { requestId, identity } = ctx.state;
  const keysLoaded = keys.reload();
  log.info({ requestId, keyId: identity.keyId, keys: keysLoaded }, "key file read again: POST /reload");
  ctx.body = { status: "ok", keys_loaded: keysLoaded };
};
