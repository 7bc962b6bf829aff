// Ids of answers: a prefix and 24 random characters of [A-Za-z0-9].
import { randomInt } from "node:crypto";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** @param prefix for example "chatcmpl-" */
export function newId(prefix: string): string {
  let id = prefix;
  for (let i = 0; i < 24; i++) id += alphabet[randomInt(alphabet.length)];
  return id;
}
