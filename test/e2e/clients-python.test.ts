import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ensurePython } from '../../scripts/python.mjs';
import { type ClientSite, startClientSite } from '../support/client-site.ts';
import { run } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const CSV = 'time,celsius\n08:00,61.5\n08:01,62.5\n';
const RUNS_BYTES = 96_000_000;
const SCANS_BYTES = 20_000_000;
/** Twenty row groups, one for each sensor, and what archives are for: many files, most of which nobody wants. */
const MAKE_DATASETS = `
import hashlib, numpy, os, pyarrow, pyarrow.parquet, zipfile
rng = numpy.random.default_rng(1)
columns = {"sensor": numpy.repeat(numpy.arange(20), 50_000)}
columns |= {f"value_{i}": rng.random(1_000_000) for i in range(12)}
pyarrow.parquet.write_table(
    pyarrow.table(columns), "runs.parquet", row_group_size=50_000, compression="none", use_dictionary=["sensor"]
)
print(columns["value_3"][7 * 50_000 : 8 * 50_000].mean())
with zipfile.ZipFile("scans.zip", "w") as archive:
    for i in range(10):
        archive.writestr(f"scan-{i}.bin", os.urandom(2_000_000))
        archive.writestr(f"scan-{i}.txt", f"scan {i}")
`;

const resources = new AsyncDisposableStack();
let dataDir = '';
/** Of the values that are asked for. */
let mean = 0;

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'measurements.csv'), CSV);
  await writeFile(join(dataDir, 'big.bin'), Buffer.alloc(1000));
  const made = await run(await ensurePython(), ['-c', MAKE_DATASETS], { cwd: dataDir });
  if (made.code !== 0) throw new Error(`the datasets could not be made:\n${made.stderr}`);
  mean = Number(made.stdout.toString());
}, 120_000);

afterAll(() => resources.disposeAsync());

describe.each([
  ['with a token', true],
  ['without a token', false],
])('%s', (_, hasToken) => {
  const own = new AsyncDisposableStack();
  let site: ClientSite;

  beforeAll(async () => {
    site = own.use(await startClientSite({ dataDir, hasToken }));
  });

  afterAll(() => own.disposeAsync());

  /** What a program said, and how much the node sent for it. */
  async function measure(program: Promise<string>): Promise<{ said: string; sent: number }> {
    const before = site.sentByNode;
    const said = await program;
    return { said, sent: site.sentByNode - before };
  }

  test('urllib and httpx', async () => {
    expect(await site.python(['urllib'])).toBe(`${CSV}\n206 bytes 900-999/1000 100\n`);
    expect(await site.python(['httpx'])).toBe(`${CSV}\n304\n`);
  });

  test('pandas reads columns and rows of a Parquet file, of which the rest stays where it is', async () => {
    const { said, sent } = await measure(site.python(['fsspec', 'pandas']));
    expect(said).toMatch(/0 +08:00 +61\.5\n1 +08:01 +62\.5\n/);
    expect(said).toContain(`value_3    ${mean.toFixed(6)}\n`);
    expect(sent).toBeLessThan(RUNS_BYTES * 0.01);
  });

  test('pyarrow does, too', async () => {
    const { said, sent } = await measure(site.python(['fsspec', 'pyarrow']));
    expect(said).toBe('50000\n');
    expect(sent).toBeLessThan(RUNS_BYTES * 0.01);
  });

  test('zipfile reads the directory of an archive and one file', async () => {
    const { said, sent } = await measure(site.python(['fsspec', 'zip']));
    expect(said).toBe('scan-9.txt scan 7\n');
    expect(sent).toBeLessThan(SCANS_BYTES * 0.01);
  });

  test('DuckDB asks for what its query needs: less than a hundredth', async () => {
    await site.python(['httpfs']);
    const secret = `db.sql(f"CREATE SECRET relay (TYPE http, BEARER_TOKEN '{TOKEN}', SCOPE '{D}')")\n`;
    const { said, sent } = await measure(site.python(['duckdb'], hasToken ? {} : { [secret]: '' }));
    expect(said).toMatch(/08:00:00 +│ +61\.5/);
    expect(said).toMatch(new RegExp(`50000 +│ +${String(mean).slice(0, 10)}`));
    expect(sent).toBeLessThan(RUNS_BYTES * 0.01);
  });
});
