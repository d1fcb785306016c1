/** Header names in lower case; a repeated header is several entries. */
export type HeaderList = ReadonlyArray<readonly [name: string, value: string]>;

export interface HttpRequestHead {
  readonly method: string;
  /** Without the query. Starts with `/`. */
  readonly path: string;
  /** With its `?`, or empty. */
  readonly query: string;
  readonly headers: HeaderList;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
}

const encoder = new TextEncoder();

/** A JSON answer as this product sends it. */
export function jsonAnswer(status: number, body: unknown, headers: HeaderList = []): HttpAnswer {
  return {
    status,
    headers: [['content-type', 'application/json'], ...headers],
    body: encoder.encode(JSON.stringify(body)),
  };
}
