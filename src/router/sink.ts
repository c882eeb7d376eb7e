/** What a connector says of a dataset before or with its first bytes. */
export interface TransferMeta {
  readonly totalSize?: number | undefined;
  readonly etag?: string | undefined;
  readonly contentType?: string | undefined;
  readonly lastModified?: string | undefined;
  /** Known beforehand only where the connector had it already. */
  readonly digest?: string | undefined;
  /** Of what is there beyond the total, as far as it has grown by now. */
  readonly currentSize?: number | undefined;
}

/** What becomes known with the last byte. */
export type Completion = Pick<TransferMeta, 'digest' | 'currentSize'>;

/** Where the bytes of a transfer go. */
export interface Sink {
  /** Before the first byte, once. @throws {RelayError} when it will not take such a dataset. */
  begin(meta: TransferMeta): void;
  /**
   * Takes bytes, in order. They are its own from then on: their memory may be gone once they are written.
   * @returns false when it wants no more until `drained`. @throws {RelayError} when there is no room.
   */
  write(bytes: Buffer): boolean;
  /** Resolves when it takes bytes again, or will never. */
  drained(): Promise<void>;
  /** Every byte was there and the connector agrees. Called once, and then the transfer is over. */
  end(completion: Completion): void;
}

/** The part of a dataset that a transfer brings, in bytes; without `length` to its end. */
export interface Part {
  readonly offset: number;
  readonly length?: number | undefined;
}
