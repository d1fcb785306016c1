/** The certificates of a PEM text that may hold several, one block each, ending in a newline. */
export const splitCertificates = (text: string): readonly string[] =>
  (text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []).map(
    (block) => `${block}\n`,
  );
