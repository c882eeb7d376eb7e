import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { listDocuments, readDocument, ROOT, withoutCode } from './documents.ts';

/** The anchors that a page's headings have, by the rules of GitHub. */
function listAnchors(text: string): string[] {
  const headings = text.replace(/^```.*?^```/gms, '').matchAll(/^#+ (.+)$/gm);
  return [...headings].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );
}

test.each(listDocuments())('every relative link of %s leads somewhere', (path) => {
  const targets = [...withoutCode(readDocument(path)).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
  const broken = targets.filter((target) => {
    if (/^[a-z]+:/.test(target)) return false;
    const [file = '', anchor] = target.split('#');
    const page = file === '' ? path : join(dirname(path), file);
    if (!existsSync(join(ROOT, page))) return true;
    return anchor !== undefined && !listAnchors(readDocument(page)).includes(anchor);
  });
  expect(broken).toEqual([]);
});
