import { join } from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import { ensureSchemathesis } from '../../../scripts/python.mjs';
import { startOwnConnector } from '../../support/own-connector.ts';
import { run } from '../../support/processes.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

const CHECKS = [
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'negative_data_rejection',
  'missing_required_header',
  'unsupported_method',
  'allow_header_conformance',
];
/** Links have no end. */
const LINKS = ['openEvents', 'openSocket'];

let python: string;

beforeAll(async () => {
  python = await ensureSchemathesis();
}, 300_000);

test('whatever is asked within or beside the description is answered as it says', async () => {
  await using router = await startRouter();
  await using _connector = await startOwnConnector(router.url, Buffer.from('time,celsius\n08:00,61.5\n'));
  await using place = await makeTempDir();
  const { code, stdout } = await run(
    python,
    [
      '-m',
      'schemathesis.cli',
      `--config-file=${join(import.meta.dirname, 'schemathesis.toml')}`,
      'run',
      `${router.url}/openapi.json`,
      '--phases=examples,coverage,fuzzing',
      `--checks=${CHECKS.join(',')}`,
      ...LINKS.map((id) => `--exclude-operation-id=${id}`),
      // What it asks depends on the seed alone.
      '--seed=1',
      '--max-examples=30',
      '--no-shrink',
      '--request-timeout=20',
      '--warnings=off',
    ],
    { cwd: place.path, env: { ...process.env, NO_PROXY: '*', no_proxy: '*' } },
  );
  expect(code === 0 ? '' : stdout.toString()).toBe('');
  expect(stdout.toString()).toMatch(/[1-9]\d{2,} generated/);
}, 120_000);
