/** A Python that has Schemathesis, installed the first time. @throws {Error} that says what is missing when it cannot be. */
export function ensureSchemathesis(): Promise<string>;
