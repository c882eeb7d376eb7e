/**
 * The paths of a Bun, a Deno and the oldest Node.js that relay runs on, installed the first time.
 * @throws {Error} that says what is missing when they cannot be installed.
 */
export function ensureRuntimes(log?: (line: string) => void): Promise<{ bun: string; deno: string; node: string }>;
/** The directory of DuckDB-Wasm, installed the first time. @throws {Error} that says what is missing when it cannot be. */
export function ensureDuckdbWasm(log?: (line: string) => void): Promise<string>;
