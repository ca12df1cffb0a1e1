// Runs a WASI preview 1 module in node, deno or bun: no files, no environment, the three
// standard streams and the arguments. A trap ends with exit status 134.
import { readFileSync, writeSync } from "node:fs";
import { WASI } from "node:wasi";

const [path, ...args] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(path));
const wasi = new WASI({ version: "preview1", args: [path, ...args], env: {}, preopens: {}, returnOnExit: true });
let status;
try {
  // Bun has no getImportObject.
  const imports = wasi.getImportObject?.() ?? { wasi_snapshot_preview1: wasi.wasiImport };
  const instance = new WebAssembly.Instance(module, imports);
  status = wasi.start(instance);
} catch (error) {
  if (!(error instanceof WebAssembly.RuntimeError)) throw error;
  writeSync(2, `trap: ${error.message}\n`);
  status = 134;
}
// At once: what is left to clean up goes with the process.
process.reallyExit(status);
