import { call } from './plain-app.ts';

/** The value of a metric, with its labels as they are written; 0 where it was never set. */
export async function readMetric(url: string, name: string, token?: string): Promise<number> {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const text = (await call(url, 'GET', '/metrics', headers)).bytes.toString();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

/** Resolves when a metric has a value, or one that fits. */
export async function untilMetric(
  url: string,
  name: string,
  wanted: number | ((value: number) => boolean),
  token?: string,
): Promise<void> {
  for (;;) {
    const value = await readMetric(url, name, token);
    if (typeof wanted === 'number' ? value === wanted : wanted(value)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
