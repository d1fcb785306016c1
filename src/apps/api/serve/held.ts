import type { Response } from 'express';

/** A place that is held. */
export interface Held {
  /** Holds it until this has ended as well. */
  during<T>(work: Promise<T>): Promise<T>;
}

/** Holds a place until the answer is over and so is the work for it: neither a hook nor a run ends with its client. */
export function held(response: Response, leave: () => void): Held {
  let holders = 1;
  const over = () => {
    holders -= 1;
    if (holders === 0) leave();
  };
  let answering = true;
  const answered = () => {
    if (!answering) return;
    answering = false;
    over();
  };
  response.once('close', answered);
  return {
    during(work) {
      holders += 1;
      // What has closed before, will not again.
      if (response.destroyed) answered();
      return work.finally(over);
    },
  };
}
