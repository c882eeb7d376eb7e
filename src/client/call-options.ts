/** What every call takes. */
export interface CallOptions {
  /** Ends the call; it then throws the signal's reason, and the router stops what it was doing for it. */
  readonly signal?: AbortSignal | undefined;
}
