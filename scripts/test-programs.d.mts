/** The path of a program that tests need. @throws {Error} that says which package brings it. */
export function findProgram(
  name:
    | 'aria2c'
    | 'caddy'
    | 'chromium'
    | 'curl'
    | 'fusermount3'
    | 'haproxy'
    | 'ip'
    | 'nginx'
    | 'openssl'
    | 'python3'
    | 'rclone'
    | 'systemd-nspawn'
    | 'tinyproxy'
    | 'wget',
): Promise<string>;
/** Installs what is missing, where that can be done. @throws {Error} that says what is missing when it cannot be installed. */
export function ensurePrograms(log?: (line: string) => void): Promise<void>;
