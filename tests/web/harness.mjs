// A `scripts/web` for a test: its address, its clock, and its end.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

export const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../..");
export const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
const real = path.resolve(process.env.OTPD_BIN ?? path.join(target, "release/otpd"));

/** Starts the page with these flags. With `clock: false` it is in front of the real world's otpd. */
export async function start(flags = [], { clock = true, env = {} } = {}) {
  const directory = mkdtempSync(path.join(os.tmpdir(), "otpd-web-"));
  const socket = path.join(directory, "clock");
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("OTPD_")));
  const server = spawn(path.join(root, "scripts/web"), ["--port", "0", ...flags], {
    env: {
      ...clean,
      OTPD_BIN: clock ? path.join(root, "tests/web/otpd-with-clock") : real,
      OTPD_REAL: real,
      OTPD_CLOCK: socket,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  server.stderr.on("data", (data) => { stderr += data; });
  const ended = new Promise((resolve) => server.once("close", (status) => resolve(status)));
  const first = await Promise.race([
    new Promise((resolve) => createInterface({ input: server.stdout }).once("line", resolve)),
    ended.then((status) => {
      rmSync(directory, { recursive: true, force: true });
      throw new Error(`scripts/web ended with ${status}: ${stderr}`);
    }),
  ]);
  const url = /http:\S+\//.exec(first)[0];

  const say = (line) => new Promise((resolve, reject) => {
    const connection = net.connect(socket, () => connection.write(`${line}\n`));
    connection.on("data", () => {});
    connection.on("error", reject);
    connection.on("close", resolve);
  });
  return {
    url,
    origin: url.slice(0, -1),
    port: Number(new URL(url).port),
    stderr: () => stderr,
    advance: (seconds) => say(seconds),
    killDaemon: () => say("die"),
    async stop(signal = "SIGINT") {
      server.kill(signal);
      const status = await ended;
      rmSync(directory, { recursive: true, force: true });
      return status;
    },
  };
}

/** The code in a message: the line that is nothing but digits. */
export const codeIn = (text) => /^\d{6,10}$/m.exec(text)[0];

/** Another code of the same length. */
export const otherThan = (code, by = 1) =>
  String((Number(code) + by) % 10 ** code.length).padStart(code.length, "0");
