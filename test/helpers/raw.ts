// A client that writes bytes as they are given, also those that no HTTP library would send, and reads what comes back.
import { connect, type Socket } from "node:net";

export type RawAnswer = { status: number; headers: Record<string, string>; body: string };

export class RawConnection {
  readonly socket: Socket;
  received = "";
  /** Resolves when the connection is gone, rejects when it was reset. */
  readonly closed: Promise<void>;
  #watchers: (() => void)[] = [];

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text: string) => {
      this.received += text;
      this.#wake();
    });
    this.closed = new Promise((resolve, reject) => this.socket.on("error", reject).on("close", () => resolve()));
    this.closed.then(
      () => this.#wake(),
      () => this.#wake(),
    );
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Resolves once what came back contains the text; fails when the connection closes without it. */
  async until(text: string): Promise<void> {
    await this.change(() => this.received.includes(text));
    if (!this.received.includes(text))
      throw new Error(`closed without ${JSON.stringify(text)}: ${JSON.stringify(this.received)}`);
  }

  /** Resolves once the condition holds or the connection is gone. Looked at whenever something comes in. */
  async change(condition: () => boolean): Promise<void> {
    while (!condition() && !this.socket.closed) await new Promise<void>((resolve) => this.#watchers.push(resolve));
  }

  /** All answers so far, by their Content-Length (none = empty). */
  answers(): RawAnswer[] {
    const answers: RawAnswer[] = [];
    for (let rest = this.received; rest !== ""; ) {
      const end = rest.indexOf("\r\n\r\n");
      if (end < 0) throw new Error(`no whole head: ${JSON.stringify(rest)}`);
      const { status, headers } = parseHead(rest.slice(0, end));
      const length = Number(headers["content-length"] ?? 0);
      const body = rest.slice(end + 4, end + 4 + length);
      if (body.length < length) throw new Error(`${body.length} of ${length} bytes of body`);
      answers.push({ status, headers, body: Buffer.from(body, "latin1").toString() });
      rest = rest.slice(end + 4 + length);
    }
    return answers;
  }

  #wake(): void {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }
}

function parseHead(head: string): { status: number; headers: Record<string, string> } {
  const [statusLine, ...lines] = head.split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine!)?.[1]);
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(": ");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
  });
  return { status, headers: Object.fromEntries(headers) };
}

/** Sends the bytes, waits until the server has closed the connection (not reset it), and gives its only answer. */
export async function exchange(port: number, bytes: string | Uint8Array): Promise<RawAnswer> {
  const connection = new RawConnection(port);
  connection.write(bytes);
  await connection.closed;
  const answers = connection.answers();
  if (answers.length !== 1) throw new Error(`${answers.length} answers: ${JSON.stringify(connection.received)}`);
  return answers[0]!;
}

/** A request's head: the request line, `Host: x` and these lines. */
export function head(requestLine: string, ...lines: string[]): string {
  return [requestLine, "Host: x", ...lines, "", ""].join("\r\n");
}
