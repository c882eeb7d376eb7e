/** The path of a MinIO binary, built the first time. @throws {Error} that says what is missing when it cannot be built. */
export function ensureMinio(log?: (line: string) => void): Promise<string>;
