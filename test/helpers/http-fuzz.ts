// Makes requests as bytes: proper ones, ones with a chosen flaw, and mutations of either. One character is one byte.
import type { Random } from "./random.ts";

export type FuzzLimits = {
  readonly requestLine: number;
  readonly headerLine: number;
  readonly headers: number;
  readonly body: number;
};

export type FuzzRequest = {
  readonly kind: string;
  readonly bytes: string;
  /** The status it must get, where that follows from the contract. */
  readonly status?: number;
};

export class HttpFuzz {
  readonly #random: Random;
  readonly #key: string;
  readonly #limits: FuzzLimits;

  constructor(random: Random, key: string, limits: FuzzLimits) {
    this.#random = random;
    this.#key = key;
    this.#limits = limits;
  }

  next(): FuzzRequest {
    const makers: readonly (() => FuzzRequest)[] = [
      () => ({ kind: "proper", bytes: this.#proper() }),
      () => ({ kind: "proper", bytes: this.#chat() }),
      () => ({ kind: "mutated", bytes: this.#mutate(this.#random.chance(0.5) ? this.#proper() : this.#chat()) }),
      () => ({ kind: "request line", bytes: `${this.#requestLine()}\r\nHost: x\r\n${this.#keyLine()}\r\n` }),
      () => ({ kind: "headers", bytes: this.#strangeHeaders() }),
      () => ({ kind: "chunks", bytes: this.#chunked() }),
      () => this.#atLimit(),
      () => ({ kind: "pipeline", bytes: this.#random.some(4, () => this.#proper()).join("") + this.#chat() }),
      () => ({ kind: "garbage", bytes: this.#garbage() }),
    ];
    if (this.#random.chance(0.02)) return { kind: "cut", bytes: this.#cut(this.#chat()) };
    return this.#random.pick(makers)();
  }

  #keyLine(): string {
    const { pick } = this.#bound();
    return pick([
      `x-api-key: ${this.#key}\r\n`,
      `x-api-key: ${this.#key}\r\n`,
      `Authorization: Bearer ${this.#key}\r\n`,
      "Authorization: Bearer sk-wrong-0123456789ab\r\n",
      "Authorization: Basic eDp5\r\n",
      "Authorization:\r\n",
      "",
    ]);
  }

  #target(): string {
    const { pick } = this.#bound();
    const path = pick([
      ...[
        "/",
        "/ping",
        "/health",
        "/metrics",
        "/reload",
        "/slots",
        "/v1/models",
        "/v1/models/x",
        "/v1/chat/completions",
      ],
      ...[
        "//ping",
        "/%70ing",
        "/v1%2fmodels",
        "/V1/models",
        "/v1/models/",
        "*",
        "http://x/ping",
        "/../ping",
        "/%00",
        "/%",
      ],
      ...["/v1/completions", "/nothing", "?", "#", "/ping#x", "/ping;x", "/\u00e4\u00ff", '/{}|^`"<>', "\\ping"],
    ]);
    return this.#random.chance(0.2)
      ? `${path}?${pick(["", "a=b", "api_key=x", "%", "\u00e9", "a".repeat(200)])}`
      : path;
  }

  #proper(): string {
    const { pick } = this.#bound();
    const method = pick([
      "GET",
      "GET",
      "GET",
      "HEAD",
      "POST",
      "PUT",
      "DELETE",
      "PATCH",
      "OPTIONS",
      "TRACE",
      "PROPFIND",
    ]);
    const extra = this.#random.some(5, () =>
      pick([
        "Accept: text/plain",
        "Origin: https://a.example",
        "Access-Control-Request-Headers: a,b",
        "x-request-id: mine",
        "x-request-id: not fit",
        "Expect: 100-continue",
        "Expect: 200-ok",
        "Content-Encoding: gzip",
        "Upgrade: websocket",
        "Connection: upgrade, keep-alive",
        "Connection: close",
        "Cookie: a=b",
        "Content-Type: text/plain",
        "Range: bytes=0-1",
        "If-None-Match: *",
      ]),
    );
    return `${method} ${this.#target()} HTTP/1.1\r\n${this.#keyLine()}Host: x\r\n${lines(extra)}\r\n`;
  }

  #chat(): string {
    const { pick } = this.#bound();
    const body = pick([
      '{"messages":[{"role":"user","content":"hi"}]}',
      '{"messages":[{"role":"user","content":"hi"}],"stream":true}',
      '{"prompt":"hi","max_tokens":3,"n":2,"stream":true}',
      '{"prompt":[1,2,3],"max_tokens":1,"echo":7}',
      '{"messages":[],"temperature":"hot"}',
      '{"messages":[{"role":"user","content":null}],"stop":[""],"seed":1e400}',
      "[".repeat(70),
      '{"a":"\\ud800"}',
      "\xff\xfe{}",
      "",
      "null",
      this.#random.bytes(this.#random.below(40)),
    ]);
    const path = pick(["/v1/chat/completions", "/v1/completions", "/reload"]);
    const sent = this.#random.chance(0.2) ? this.#mutate(body) : body;
    return `POST ${path} HTTP/1.1\r\n${this.#keyLine()}Host: x\r\nContent-Length: ${sent.length}\r\n\r\n${sent}`;
  }

  #requestLine(): string {
    const { pick } = this.#bound();
    const method = pick([
      "GET",
      "get",
      "G E T",
      "",
      "\u00c4",
      "GET\t",
      "PRI",
      "CONNECT",
      "POST",
      "M-SEARCH",
      "QUERY",
      "A".repeat(300),
    ]);
    const version = pick([
      "HTTP/1.1",
      "HTTP/1.0",
      "HTTP/0.9",
      "HTTP/1.2",
      "HTTP/2.0",
      "HTTP/1.",
      "http/1.1",
      "ICE/1.0",
      "",
      "X",
    ]);
    return `${method}${pick([" ", "", "  ", "\t"])}${this.#target()}${pick([" ", "", "  ", "\r"])}${version}`;
  }

  #strangeHeaders(): string {
    const { pick } = this.#bound();
    const strange = this.#random.some(4, () =>
      pick([
        ...[
          "nonsense",
          ": empty",
          " folded: x",
          "a:",
          "a: b\r\n c",
          "a\t: b",
          "a : b",
          "a: b\0c",
          "\u00e4: b",
          "a: \u00ff\u0080",
        ],
        ...["Host: y", "Host:", "host: x, y", "Content-Length: 5", "Content-Length: -1", "Content-Length: +5"],
        ...[
          "Content-Length: 0x5",
          "Content-Length: 5, 5",
          "Content-Length: 5 5",
          "Content-Length: 99999999999999999999",
        ],
        ...[
          "Content-Length:",
          "Transfer-Encoding: chunked",
          "Transfer-Encoding: gzip, chunked",
          "Transfer-Encoding: xchunked",
        ],
        ...[
          "Transfer-Encoding: chunked, identity",
          "Transfer-Encoding:\tchunked",
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        ],
        ...[
          "Expect: 100-continue, x",
          "Expect:",
          "Connection: , ,",
          "__proto__: x",
          "constructor: x",
          "a: b\rc: d",
          "a: b\nc: d",
        ],
        `a: ${this.#random.bytes(20)}`,
        `${this.#random.bytes(5)}: x`,
      ]),
    );
    const host = this.#random.chance(0.9) ? "Host: x\r\n" : "";
    return `${pick(["GET", "POST"])} ${this.#target()} HTTP/1.1\r\n${this.#keyLine()}${host}${lines(strange)}\r\n`;
  }

  #chunked(): string {
    const { pick } = this.#bound();
    const chunk = () =>
      pick([
        ...[
          "5\r\nhello\r\n",
          "1\r\n{\r\n",
          "5;a=b\r\nhello\r\n",
          `5;${"x".repeat(20_000)}\r\nhello\r\n`,
          "5\nhello\n",
          "5\r\nhel\r\n",
        ],
        ...[
          "zz\r\n",
          "-1\r\n",
          "0x5\r\nhello\r\n",
          "FFFFFFFFFFFFFFFFF\r\n",
          "\r\n",
          " 5\r\nhello\r\n",
          "5 \r\nhello\r\n",
        ],
        `${this.#limits.body.toString(16)}\r\n${"x".repeat(this.#limits.body)}\r\n`,
        `${(this.#limits.body + 1).toString(16)}\r\n${"x".repeat(this.#limits.body + 1)}\r\n`,
      ]);
    const end = pick([
      "0\r\n\r\n",
      "0\r\n\r\n",
      "0\r\na: b\r\n\r\n",
      "0\r\nbad\r\n\r\n",
      "00000\r\n\r\n",
      "0\n\n",
      "0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ]);
    const head = `POST ${this.#target()} HTTP/1.1\r\n${this.#keyLine()}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
    return head + this.#random.some(3, chunk).join("") + end;
  }

  /** A size one below, at, and one above its limit; nothing else is wrong with it. */
  #atLimit(): FuzzRequest {
    const over = this.#random.below(3) - 1;
    const { requestLine, headerLine, headers, body } = this.#limits;
    const makers: readonly (() => FuzzRequest)[] = [
      () => {
        const path = "x".repeat(requestLine + over - "GET /ping? HTTP/1.1\r\n".length);
        return { kind: "line", status: over > 0 ? 414 : 200, bytes: `GET /ping?${path} HTTP/1.1\r\nHost: x\r\n\r\n` };
      },
      () => {
        const value = "x".repeat(headerLine + over - "a: \r\n".length);
        return {
          kind: "header",
          status: over > 0 ? 431 : 200,
          bytes: `GET /ping HTTP/1.1\r\nHost: x\r\na: ${value}\r\n\r\n`,
        };
      },
      () => {
        const more = lines(Array.from({ length: headers + over - 1 }, (_, at) => `h${at}: x`));
        return { kind: "count", status: over > 0 ? 431 : 200, bytes: `GET /ping HTTP/1.1\r\nHost: x\r\n${more}\r\n` };
      },
      () => {
        const key = `x-api-key: ${this.#key}\r\n`;
        const text = `{"x":"${"y".repeat(body + over - 8)}"}`;
        const head = `POST /v1/completions HTTP/1.1\r\nHost: x\r\n${key}`;
        const length = `Content-Length: ${text.length}\r\n\r\n${text}`;
        const chunked = `Transfer-Encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
        // Within the limit it is judged as JSON, and lacks its prompt.
        return { kind: "body", status: over > 0 ? 413 : 400, bytes: head + this.#random.pick([length, chunked]) };
      },
    ];
    return this.#random.pick(makers)();
  }

  #garbage(): string {
    const { pick } = this.#bound();
    return pick([
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "SSH-2.0-OpenSSH\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\0".repeat(50),
      `${this.#random.bytes(1 + this.#random.below(300))}\r\n\r\n`,
      "x".repeat(100_000),
    ]);
  }

  #mutate(bytes: string): string {
    let text = bytes;
    for (let count = 1 + this.#random.below(4); count > 0; count--) {
      const at = this.#random.below(text.length + 1);
      const end = Math.min(text.length, at + this.#random.below(12));
      const middle = this.#random.pick([
        "",
        this.#random.bytes(1),
        text.slice(at, end).repeat(2),
        this.#random.pick(["\r\n", "\r", "\n", "\0", " ", ":", "\t", "\r\n\r\n", "\x7f", "\xff", "%", "0"]),
      ]);
      text = text.slice(0, at) + middle + text.slice(end);
    }
    return text || "\r";
  }

  /** A client that stops in the middle. */
  #cut(bytes: string): string {
    return bytes.slice(0, 1 + this.#random.below(bytes.length - 1));
  }

  #bound(): { pick: <T>(choices: readonly T[]) => T } {
    return { pick: (choices) => this.#random.pick(choices) };
  }
}

const lines = (headers: readonly string[]): string => headers.map((line) => `${line}\r\n`).join("");
