/** Whether it is the other side's certificate that a connection failed by: not trusted, expired, of another name. */
export const isCertificateError = (thrown: unknown): boolean => hasCause(thrown, /CERT|UNABLE_TO_VERIFY/);

/** Whether nobody was there to connect to: no such name, no way, or nobody who listens. */
export const isNobodyThere = (thrown: unknown): boolean =>
  hasCause(thrown, /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/);

function hasCause(thrown: unknown, code: RegExp): boolean {
  for (let cause = thrown; cause instanceof Error; cause = cause.cause) {
    if (code.test((cause as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}
