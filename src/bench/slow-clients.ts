// Clients that hold connections and give nothing for it: a third sends its head byte by byte, a third stops in its body, a third
// asks for a stream and never reads it.
import { connect, type Socket } from "node:net";

type SlowLoad = {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly slowClients: number;
};

const dripMs = 1000;

/** Resolves when all are connected and have sent their beginning. @returns what ends them */
export async function holdSlowClients(load: SlowLoad): Promise<() => void> {
  const sockets: Socket[] = [];
  const heads: Socket[] = [];
  for (let index = 0; index < load.slowClients; index++) {
    const socket = await open(load.port);
    sockets.push(socket);
    if (index % 3 === 0) heads.push(socket);
    socket.write(beginning(load, index % 3));
  }
  const drip = setInterval(() => {
    for (const socket of heads) if (socket.writable) socket.write("a");
  }, dripMs);
  return () => {
    clearInterval(drip);
    for (const socket of sockets) socket.destroy();
  };
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.pause();
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      // The server ends them at its deadlines, in whatever way.
      socket.on("error", () => socket.destroy());
      resolve(socket);
    });
  });
}

function beginning({ path, headers }: SlowLoad, kind: number): string {
  const lines = [
    `POST ${path} HTTP/1.1`,
    "Host: x",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  if (kind === 0) return `${lines.join("\r\n")}\r\nx-slow: `;
  if (kind === 1) return `${lines.join("\r\n")}\r\nContent-Length: 1000\r\n\r\n{"messages":`;
  const body = JSON.stringify({ messages: [{ role: "user", content: "slow" }], stream: true, max_tokens: 10_000 });
  return `${lines.join("\r\n")}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}
