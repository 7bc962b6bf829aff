// The id of one request: the client's own if it is well-formed, else a new one. Nothing else of the request is looked at.
import { randomBytes } from "node:crypto";

const wellFormed = /^[A-Za-z0-9._-]{1,128}$/;

/** @param sent the value of x-request-id */
export function requestIdFrom(sent: string | string[] | undefined): string {
  return typeof sent === "string" && wellFormed.test(sent) ? sent : newRequestId();
}

export function newRequestId(): string {
  return `req_${randomBytes(16).toString("hex")}`;
}
