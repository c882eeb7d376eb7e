const KIB = 1024;
const MIB = 1024 * KIB;

/** Largest WebSocket message or SSE event in either direction, in bytes: commands are small. */
export const MAX_FRAME_BYTES = 64 * KIB;

/** Largest JSON body of a control request (requests, init, complete, failures), in bytes. */
export const MAX_CONTROL_BODY_BYTES = 1 * MIB;

/** Largest JSON chunk body, in bytes. Binary chunks have no limit of their own. */
export const MAX_JSON_CHUNK_BYTES = 8 * MIB;

/** Longest dataset name in bytes of UTF-8 (PATH_MAX of Linux, less its NUL). */
export const MAX_DATASET_NAME_BYTES = 4095;

/** Most entries in one page of a listing. */
export const MAX_LIST_LIMIT = 1000;

/** Most parts of one multipart upload, and most part numbers in one request for their URLs (the limit of S3). */
export const MAX_PARTS = 10_000;
export const MAX_PARTS_PER_REQUEST = 100;

/** Longest glob of a listing in code units, and most alternatives that its braces may come to. */
export const MAX_GLOB_LENGTH = 1024;
export const MAX_GLOB_ALTERNATIVES = 64;

/** The longest that a dataset can have to be left alone before it is given, in seconds: a hundred years. */
export const MAX_MIN_AGE_SECONDS = 100 * 366 * 24 * 3600;

/** How long a signed URL of a dataset is good at most, in seconds (as S3 has it). */
export const MAX_SIGNED_SECONDS = 7 * 24 * 3600;
