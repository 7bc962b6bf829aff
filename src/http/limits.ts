// The limits on a request's head, judged before anything else, and on what the head says about the body, judged before it is read.
// Sizes are those of the lines on the wire in their usual form: one space after the colon, CRLF included.
import type { IncomingMessage } from "node:http";
import type { Config } from "../config.ts";
import { Failure } from "../errors.ts";
import { tooLarge } from "./body.ts";

/** @throws Failure uri_too_long, header_fields_too_large, bad_request (Host) or expectation_failed */
export function checkHead(
  request: IncomingMessage,
  limits: Pick<Config, "maxRequestLineSize" | "maxHeaders" | "maxHeaderLineSize">,
): void {
  const { method = "", url = "", httpVersion, headers } = request;
  if (`${method} ${url} HTTP/${httpVersion}\r\n`.length > limits.maxRequestLineSize) {
    throw new Failure("uri_too_long", `The request line is longer than ${limits.maxRequestLineSize} bytes.`);
  }
  const hosts = checkHeaderLines(request.rawHeaders, limits);
  if (httpVersion !== "1.1") return;
  if (hosts !== 1) throw new Failure("bad_request", `Malformed HTTP request: expected one Host header, got ${hosts}.`);
  if (headers.expect !== undefined && headers.expect.trim().toLowerCase() !== "100-continue") {
    throw new Failure("expectation_failed", "The only expectation this server meets is 100-continue.");
  }
}

/** @param rawHeaders names and values in turn, one character per byte @returns how many Host lines there are */
function checkHeaderLines(rawHeaders: string[], limits: Pick<Config, "maxHeaders" | "maxHeaderLineSize">): number {
  if (rawHeaders.length / 2 > limits.maxHeaders) {
    throw new Failure("header_fields_too_large", `The request has more than ${limits.maxHeaders} header lines.`);
  }
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (`${name}: ${rawHeaders[at + 1]}\r\n`.length > limits.maxHeaderLineSize) {
      const message = `A header line of the request is longer than ${limits.maxHeaderLineSize} bytes.`;
      throw new Failure("header_fields_too_large", message);
    }
    if (name.toLowerCase() === "host") hosts += 1;
  }
  return hosts;
}

/** @throws Failure payload_too_large or unsupported_media_type */
export function checkBodyHead({ headers }: IncomingMessage, limits: Pick<Config, "maxRequestBodySize">): void {
  if (headers["content-encoding"] !== undefined) {
    throw new Failure(
      "unsupported_media_type",
      "Send the body without a Content-Encoding; compressed bodies are not accepted.",
    );
  }
  if (Number(headers["content-length"] ?? 0) > limits.maxRequestBodySize) throw tooLarge(limits);
}
