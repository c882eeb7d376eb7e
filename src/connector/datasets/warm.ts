import { RecentMap } from '../../recent-map.ts';

/** How long memory has what was taken from a disk, in ms: many times that, but disks may be swapped. */
const WARM_MS = 5000;

/** Of how many files and pages it is remembered at least. */
const REMEMBERED_LOOKS = 10_000;
const REMEMBERED_PAGES = 16_384;

/** What systems keep of a file at least, in bytes. */
const PAGE_BYTES = 4096;

/** What is longer is not looked up: a thread's way is a small part of what reading it takes. */
const MAX_PIECE_BYTES = 64 * 1024;

/**
 * What threads took from a local disk lately. Memory has that, so that taking it again makes nobody wait, and is done at
 * once, without the way to a thread and back, which takes longer than the rest.
 */
export class Warm {
  readonly #looks = new RecentMap<string, number>(REMEMBERED_LOOKS);
  readonly #pages = new RecentMap<string, number>(REMEMBERED_PAGES);
  readonly #now: () => number;

  /** @param now a clock in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether a file was looked at. @param path of the file. */
  hasLook(path: string): boolean {
    return this.#isRecent(this.#looks.get(path));
  }

  noteLook(path: string): void {
    this.#looks.set(path, this.#now());
  }

  /** Whether every page of a piece was read. @param etag of the file: another state of it is another content. */
  hasPiece(etag: string, position: number, length: number): boolean {
    if (length > MAX_PIECE_BYTES) return false;
    return pagesOf(position, length).every((page) => this.#isRecent(this.#pages.get(etag + page)));
  }

  notePiece(etag: string, position: number, length: number): void {
    if (length > MAX_PIECE_BYTES) return;
    const now = this.#now();
    for (const page of pagesOf(position, length)) this.#pages.set(etag + page, now);
  }

  #isRecent(at: number | undefined): boolean {
    return at !== undefined && this.#now() - at < WARM_MS;
  }
}

function pagesOf(position: number, length: number): number[] {
  const first = Math.floor(position / PAGE_BYTES);
  const last = Math.floor((position + length - 1) / PAGE_BYTES);
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
