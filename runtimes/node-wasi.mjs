// Runs a WASI preview 1 module in node, deno or bun: no files, no environment,
// the three standard streams and the arguments.
//
//   node-wasi.mjs MODULE [ARGUMENT]...          once; a trap ends with 134, and so
//       does an exit code that an exit status cannot hold: 8 bits
//   node-wasi.mjs --warm MODULE [ARGUMENT]...   a worker that keeps the compiled
//       module and makes a fresh instance for each request, which it reads from
//       descriptor 3: see docs/runtimes.md for the protocol
import { closeSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { WASI } from "node:wasi";

const CONTROL = 3;
const stays = process.argv[2] === "--warm";
const [path, ...args] = process.argv.slice(stays ? 3 : 2);
const module = new WebAssembly.Module(readFileSync(path));

// How a function exits: bun would end itself, and cut the code to 8 bits.
class Exit {
  constructor(code) {
    this.code = code;
  }
}

// A fresh instance and a function that runs it to its exit code; streams are
// descriptors.
function instantiate(streams) {
  const wasi = new WASI({
    version: "preview1", args: [path, ...args], env: {}, preopens: {}, returnOnExit: true, ...streams,
  });
  // Bun has no getImportObject.
  const imports = wasi.getImportObject?.() ?? { wasi_snapshot_preview1: wasi.wasiImport };
  imports.wasi_snapshot_preview1.proc_exit = (code) => {
    throw new Exit(code);
  };
  const instance = new WebAssembly.Instance(module, imports);
  return () => {
    try {
      return wasi.start(instance) ?? 0;
    } catch (error) {
      if (error instanceof Exit) return error.code;
      throw error;
    }
  };
}

function cold() {
  let status;
  try {
    status = instantiate({})();
  } catch (error) {
    // A stack that is exhausted is a RangeError.
    if (![WebAssembly.RuntimeError, RangeError].some((kind) => error instanceof kind)) throw error;
    writeSync(2, `trap: ${error.message}\n`);
    status = 134;
  }
  if ((status & 255) !== status) {
    writeSync(2, `exit code out of range: ${status} does not fit into 8 bits\n`);
    status = 134;
  }
  // At once: what is left to clean up goes with the process.
  process.reallyExit(status);
}

const now = () => process.hrtime.bigint();

// Runs once with the named files as standard streams; the line to answer.
function invoke([input, output, errors]) {
  const begun = now();
  const stdin = openSync(input, "r");
  const stdout = openSync(output, "w");
  const stderr = openSync(errors, "w");
  let started = begun;
  let end;
  try {
    const run = instantiate({ stdin, stdout, stderr });
    started = now();
    end = `exit ${run()}`;
  } catch (error) {
    end = `trap ${String(error.message).replaceAll(/\s+/g, " ")}`;
  }
  const ended = now();
  for (const file of [stdin, stdout, stderr]) {
    try {
      closeSync(file);
    } catch (error) {
      // The function may have closed its own streams.
      if (error.code !== "EBADF") throw error;
    }
  }
  return `done ${begun} ${started} ${ended} ${end}`;
}

function* requests() {
  const buffer = Buffer.alloc(4096);
  let text = "";
  for (;;) {
    const size = readSync(CONTROL, buffer);
    if (size === 0) return;
    text += buffer.toString("utf8", 0, size);
    for (let at; (at = text.indexOf("\n")) >= 0; text = text.slice(at + 1)) {
      yield text.slice(0, at).split(" ");
    }
  }
}

function warm() {
  const answer = (line) => writeSync(CONTROL, `${line}\n`);
  answer("ready");
  for (const [what, ...files] of requests()) {
    if (what === "run") {
      answer(invoke(files));
    } else {
      // Nobody measures now: the instance that has ended can go.
      globalThis.gc?.();
      answer("rested");
    }
  }
}

if (stays) warm();
else cold();
