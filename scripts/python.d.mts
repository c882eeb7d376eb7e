/**
 * The path of a Python that has the libraries which the tests read datasets with, installed the first time.
 * @throws {Error} that says what is missing when they cannot be installed.
 */
export function ensurePython(log?: (line: string) => void): Promise<string>;
/** The path of a Python that has Schemathesis, installed the first time. @throws {Error} that says what is missing when it cannot be. */
export function ensureSchemathesis(log?: (line: string) => void): Promise<string>;
