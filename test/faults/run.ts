import { createHash, randomBytes } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Direction, FaultyLine } from '../support/faulty-line.ts';
import { EXIT } from '../../src/protocol/errors.ts';
import { DEADLINE_MS, type Fetching, type Outcome, startFetching, type Subject, targetOf } from './fetcher.ts';
import type { LineFaultKind } from '../support/faulty-line.ts';
import type { Plan, Victim } from './plan.ts';
import { type Holdings, readHoldings, type Site } from './site.ts';

/**
 * What came of a run.
 *
 * - `spared`: the file is right, and was there before the fault could happen.
 * - `unharmed`: the file is right, and nothing had to be done for that.
 * - `resumed`: it is right, and the transfer went on where the fault had broken it off.
 * - `repeated`: it is right, and was asked for again as a whole.
 * - `failed`: a clear error within the deadline.
 * - `wrong`: anything else, such as another file or something that was left behind.
 * - `hung`: something did not end, or did not come back.
 */
export type Verdict = 'spared' | 'unharmed' | 'resumed' | 'repeated' | 'failed' | 'wrong' | 'hung';

export interface RunReport {
  readonly plan: Plan;
  readonly verdict: Verdict;
  /** What is wrong, or which error it was. */
  readonly detail: string;
  readonly exitCode: number | null;
  readonly ms: number;
}

/** What may be left over for a moment, and for how long, in ms. */
const SETTLE_MS = 12_000;
/** How much later than its deadline an app may end: it has to start, and a stopped one has to wake up. */
const LATE_MS = 8000;
const STOPPED_MS = 5000;
const START_ATTEMPTS = 3;
/** Kept connections come and go. */
const MORE_DESCRIPTORS = 40;
const MAX_RESIDENT_BYTES = 600e6;

/** Exit codes that a fault may cause. Others would blame the user, or nobody. */
const CLEAR: ReadonlySet<number> = new Set([
  EXIT.failed,
  EXIT.offline,
  EXIT.timedOut,
  EXIT.notAsPromised,
  EXIT.tryAgain,
]);

/** Something that ought to have been otherwise. */
class Complaint extends Error {
  readonly verdict: Verdict;
  constructor(verdict: 'wrong' | 'hung', message: string) {
    super(message);
    this.verdict = verdict;
  }
}

/** Runs one plan at a site and judges it. A site that breaks down meanwhile counts as one that hangs. */
export async function runPlan(site: Site, plan: Plan): Promise<RunReport> {
  const startedAt = Date.now();
  const { key, mac } = site.chooseConnector(plan);
  const dataset = `run-${plan.index}.bin`;
  const bytes = randomBytes(plan.sizeBytes);
  const digest = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(site.dataDir, dataset), bytes);
  const before = await readAllHoldings(site);
  const logged = site.routerLog().length;
  site.setRate(plan.sizeBytes / (plan.transferMs / 1000));
  const subject: Subject = {
    ...plan,
    router: (plan.nginx === 'app' ? site.lines.appByNginx : site.lines.app).url,
    mac,
    dataset,
    outDir: site.outDir,
  };
  const over = new AbortController();
  let outcome: Outcome | undefined;
  const finish = (verdict: Verdict, detail: string): RunReport => ({
    plan,
    verdict,
    detail,
    exitCode: outcome?.code ?? null,
    ms: Date.now() - startedAt,
  });
  try {
    const fault = new Fault(site, plan, key, over.signal);
    fault.prepare();
    const fetching = startFetching(subject);
    const happening = fault.happen(fetching);
    outcome = await within(DEADLINE_MS + LATE_MS, fetching, plan);
    over.abort();
    await happening;
    site.heal();
    if (fault.isAppGone) {
      // Whoever was killed is run again.
      site.setRate(plan.sizeBytes);
      outcome = await within(DEADLINE_MS + LATE_MS, startFetching(subject), plan);
      site.heal();
    }
    const cleared = await judge(subject, outcome, digest, fault);
    await checkAftermath(site, subject, before, fault);
    if (cleared !== undefined) return finish('failed', cleared);
    return finish(rate(outcome, site.routerLog(logged), fault), outcome.stderr.trim().replaceAll('\n', ' '));
  } catch (error) {
    const { verdict, message } = error instanceof Complaint ? error : new Complaint('hung', describeBreakdown(error));
    return finish(verdict, withOutcome(message, outcome));
  } finally {
    over.abort();
    site.heal();
    await rm(join(site.dataDir, dataset), { force: true });
    for (const name of await readdir(site.outDir)) await rm(join(site.outDir, name));
  }
}

const describeBreakdown = (error: unknown): string =>
  `the site broke down: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;

const withOutcome = (message: string, outcome: Outcome | undefined): string =>
  outcome === undefined ? message : `${message} (exit ${outcome.code}: ${outcome.stderr.trim()})`;

async function within(ms: number, fetching: Fetching, plan: Plan): Promise<Outcome> {
  const late = new AbortController();
  const timer = wait(ms, undefined, { signal: late.signal }).catch(() => undefined);
  const outcome = await Promise.race([fetching.result, timer]);
  late.abort();
  if (outcome !== undefined) return outcome;
  fetching.child().kill('SIGKILL');
  await fetching.result.catch(() => undefined);
  throw new Complaint('hung', `${plan.app} has not ended ${ms} ms after it began`);
}

/** @returns the error that it failed with, where it did so well; undefined for a right file. @throws {Complaint} */
async function judge(subject: Subject, outcome: Outcome, digest: string, fault: Fault): Promise<string | undefined> {
  const { code, stderr } = outcome;
  if (code === 0) {
    if (outcome.digest !== digest) throw new Complaint('wrong', 'the file is not what was sent, and it looks well');
    return undefined;
  }
  if (!fault.hasStruck) throw new Complaint('wrong', 'it failed without a fault');
  if (subject.app !== 'file' && subject.app !== 'stdout') return `curl ${code}: ${stderr.trim()}`;
  const names = await readdir(subject.outDir);
  if (names.some((name) => targetOf(subject).endsWith(`/${name}`))) {
    throw new Complaint('wrong', 'it failed and left something under the name of the target');
  }
  if (code === null || !CLEAR.has(code)) throw new Complaint('wrong', 'no exit code for this');
  const message = stderr.split('\n').findLast((line) => line.startsWith('relay: '));
  if (message === undefined || stderr.includes('defect')) throw new Complaint('wrong', 'no clear error');
  return `exit ${code}: ${message.slice('relay: '.length)}`;
}

/** How a right file came about. */
function rate(outcome: Outcome, routerLog: readonly { msg?: string }[], fault: Fault): Verdict {
  if (!fault.hasStruck) return 'spared';
  if (fault.isAppGone || /trying again in/.test(outcome.stderr)) return 'repeated';
  const hasResumed =
    /going on after/.test(outcome.stderr) ||
    routerLog.some(({ msg }) => msg === 'the connector is asked to go on') ||
    fault.hasBrokenBody;
  return hasResumed ? 'resumed' : 'unharmed';
}

/** How many unfinished uploads each site has from earlier runs. */
const keptUploads = new WeakMap<Site, number>();

/** Nothing may be left behind. @throws {Complaint} */
async function checkAftermath(
  site: Site,
  subject: Subject,
  before: ReadonlyMap<string, Holdings>,
  { isAppGone, isStoreLost }: Fault,
): Promise<void> {
  await eventually('no request is pending', async () => {
    const pending = await site.countPending();
    return pending === 0 ? undefined : `${pending} pending`;
  });
  // One that failed by what may pass keeps its parts for a day, so that the next request goes on with them.
  const allowed = (keptUploads.get(site) ?? 0) + 1;
  const countUploads = async (): Promise<string | undefined> => {
    const uploads = await site.minio.countUploads();
    return uploads <= allowed ? undefined : `${uploads} unfinished, and ${allowed} may be`;
  };
  // A store that was away is swept later: every ten minutes, and whenever a router starts.
  if (isStoreLost && (await countUploads()) !== undefined) await site.restartRouter();
  await eventually('no more uploads are unfinished than may be gone on with', countUploads);
  keptUploads.set(site, await site.minio.countUploads());
  await eventually('every connector is back', async () => {
    const offline = await site.listOffline();
    return offline.length === 0 ? undefined : `without a link: ${offline.join(', ')}`;
  });
  const leftovers = (await readdir(subject.outDir)).filter((name) => name.endsWith('.part'));
  // Who was killed could not take its partial file along.
  if (leftovers.length > (isAppGone ? 1 : 0)) throw new Complaint('wrong', `left behind: ${leftovers.join(', ')}`);
  await eventually('no descriptors are lost', async () => {
    const after = await readAllHoldings(site);
    for (const [name, { descriptors }] of after) {
      const least = before.get(name)?.descriptors ?? 0;
      if (descriptors > least + MORE_DESCRIPTORS) return `${name} had ${least} and has ${descriptors}`;
    }
    return undefined;
  });
  for (const [name, { residentBytes }] of await readAllHoldings(site)) {
    if (residentBytes > MAX_RESIDENT_BYTES)
      throw new Complaint('wrong', `${name} holds ${Math.round(residentBytes / 1e6)} MB of memory`);
  }
}

/** Waits until there is nothing to complain about. */
async function eventually(what: string, complain: () => Promise<string | undefined>): Promise<void> {
  const giveUpAt = Date.now() + SETTLE_MS;
  for (;;) {
    const complaint = await complain().catch((error: unknown) => (error as Error).message);
    if (complaint === undefined) return;
    if (Date.now() > giveUpAt)
      throw new Complaint('hung', `after ${SETTLE_MS} ms it is not so that ${what}: ${complaint}`);
    await wait(100);
  }
}

async function readAllHoldings(site: Site): Promise<Map<string, Holdings>> {
  const all = new Map<string, Holdings>();
  for (const [name, role] of site.roles) all.set(name, await readHoldings(role.pid));
  return all;
}

/** What goes wrong in one run. */
class Fault {
  readonly #site: Site;
  readonly #plan: Plan;
  readonly #connector: ReturnType<Site['chooseConnector']>['key'];
  readonly #over: AbortSignal;
  #isAppGone = false;
  #hasHappened = false;

  constructor(site: Site, plan: Plan, connector: ReturnType<Site['chooseConnector']>['key'], over: AbortSignal) {
    this.#site = site;
    this.#plan = plan;
    this.#connector = connector;
    this.#over = over;
  }

  /** Whether the app's own process was killed. */
  get isAppGone(): boolean {
    return this.#isAppGone;
  }

  /** Whether the store did not answer for a while. */
  get isStoreLost(): boolean {
    return this.#plan.fault.endsWith(' store');
  }

  get hasStruck(): boolean {
    return this.#plan.leg === 'process' ? this.#hasHappened : this.#line.hasStruck;
  }

  /** Whether a connection that carried the dataset broke in its middle. */
  get hasBrokenBody(): boolean {
    const { leg, fault, sizeBytes } = this.#plan;
    if (leg === 'process' || !this.hasStruck || ['flip', 'duplicate', 'trickle'].includes(fault)) return false;
    return this.#spanBytes === sizeBytes;
  }

  /** Arms the line, before anything passes. */
  prepare(): void {
    const { leg, fault, direction, at, outageMs, trickleMs } = this.#plan;
    if (leg === 'process') return;
    this.#line.arm({
      kind: fault as LineFaultKind,
      traffic: leg === 'link' ? 'link' : 'data',
      direction,
      afterBytes: Math.floor(at * this.#spanBytes),
      outageMs: fault === 'flip' || fault === 'duplicate' ? 0 : outageMs,
      trickleMs,
    });
  }

  /** About how many bytes pass in the direction of the fault. */
  get #spanBytes(): number {
    const { pattern, leg, direction, sizeBytes } = this.#plan;
    // A link begins with the command.
    if (leg === 'link') return 300;
    const carriesDataset = pattern !== 'C' || leg === 'node-store' || leg === 'app-store';
    if (carriesDataset && direction === this.#bulk) return sizeBytes;
    return carriesDataset ? 200 : 2000;
  }

  /** Waits for the moment and does what happens to a process. Resolves when that is over and all is back. */
  async happen(fetching: Fetching): Promise<void> {
    const { leg, fault, sizeBytes, at, delayMs, awayMs } = this.#plan;
    if (leg !== 'process') return;
    const [line, direction] = this.#course;
    await line.whenPassed('data', direction, Math.max(1, Math.floor(at * sizeBytes)), this.#over);
    await wait(delayMs, undefined, { signal: this.#over }).catch(() => undefined);
    const [kind, victim] = fault.split(' ') as [string, Victim];
    if (this.#over.aborted) return;
    this.#hasHappened = true;
    if (victim === 'app') return this.#disturbApp(fetching, kind);
    if (kind === 'stop') return this.#pause(this.#pidOf(victim));
    await this.#end(victim, kind === 'kill' ? 'SIGKILL' : 'SIGTERM');
    await wait(awayMs);
    await this.#begin(victim);
  }

  async #disturbApp(fetching: Fetching, kind: string): Promise<void> {
    const child = fetching.child();
    if (child.exitCode !== null || child.signalCode !== null) return;
    if (kind === 'stop') return this.#pause(child.pid as number);
    this.#isAppGone = child.kill('SIGKILL');
  }

  async #pause(pid: number): Promise<void> {
    process.kill(pid, 'SIGSTOP');
    await wait(STOPPED_MS);
    try {
      process.kill(pid, 'SIGCONT');
    } catch {
      // It was killed for being late.
    }
  }

  #pidOf(victim: Victim): number {
    if (victim === 'store') return this.#site.minio.pid;
    return victim === 'router' ? this.#site.router.pid : this.#site.connector(this.#connector).pid;
  }

  async #end(victim: Victim, signal: NodeJS.Signals): Promise<void> {
    if (victim === 'store') await this.#site.minio.stop(signal);
    else if (victim === 'router') await this.#site.router.end(signal);
    else await this.#site.connector(this.#connector).end(signal);
  }

  async #begin(victim: Victim): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#beginOnce(victim);
        return;
      } catch (error) {
        // A connection of anybody's may have its port for a moment.
        if (attempt === START_ATTEMPTS) throw error;
      }
    }
  }

  async #beginOnce(victim: Victim): Promise<void> {
    if (victim === 'store') await this.#site.minio.start();
    else if (victim === 'router') await this.#site.startRouter();
    else await this.#site.startConnector(this.#connector);
  }

  /** The line that the fault is on. */
  get #line(): FaultyLine {
    const { lines } = this.#site;
    const { leg, nginx } = this.#plan;
    switch (leg) {
      case 'app':
        return nginx === 'app' ? lines.appByNginx : lines.app;
      case 'node-store':
        return lines.nodeStore;
      case 'app-store':
        return lines.appStore;
      default:
        return lines.connectors[this.#connector];
    }
  }

  get #bulk(): Direction {
    return this.#plan.leg === 'data' || this.#plan.leg === 'node-store' ? 'up' : 'down';
  }

  /** Where the progress of the transfer is seen: on the way in or, chance decides, on the way out. */
  get #course(): [FaultyLine, Direction] {
    const { lines } = this.#site;
    const { pattern, nginx, delayMs } = this.#plan;
    const isOut = delayMs % 2 === 0;
    if (pattern === 'C') return isOut ? [lines.appStore, 'down'] : [lines.nodeStore, 'up'];
    if (isOut && pattern === 'B') return [nginx === 'app' ? lines.appByNginx : lines.app, 'down'];
    return [lines.connectors[this.#connector], 'up'];
  }
}
