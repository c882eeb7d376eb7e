import { call } from './plain-app.ts';

/** The value of a metric, with its labels as they are written; 0 where it was never set. */
export async function readMetric(url: string, name: string, token?: string): Promise<number> {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const text = (await call(url, 'GET', '/metrics', headers)).bytes.toString();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

/** Resolves when a metric has a value. Each look is a request, which gives the router its turn. */
export async function untilMetric(url: string, name: string, wanted: number, token?: string): Promise<void> {
  for (;;) {
    if ((await readMetric(url, name, token)) === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
