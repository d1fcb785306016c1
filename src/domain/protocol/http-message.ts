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

/** An answer to a request. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
  /**
   * What is sent after `body`, as it comes, chunked; only to a client of HTTP/1.1. Its end is the answer's end; one that fails
   * breaks the connection off. Who reads slowly slows it; it is ended by `return()` when nobody reads any more. Such an answer has no
   * signature in its headers, for they go out first.
   */
  readonly stream?: AsyncIterable<Uint8Array>;
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
