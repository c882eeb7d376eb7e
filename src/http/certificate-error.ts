/** Whether it is the other side's certificate that a connection failed by: not trusted, expired, of another name. */
export function isCertificateError(thrown: unknown): boolean {
  for (let cause = thrown; cause instanceof Error; cause = cause.cause) {
    if (/CERT|UNABLE_TO_VERIFY/.test((cause as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}
