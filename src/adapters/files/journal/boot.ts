export { bootId as systemBootId } from '../../shared/process-identity.js';

/** Milliseconds on a clock that all processes of one boot share. */
export const sinceBoot = (): number => Number(process.hrtime.bigint() / 1_000_000n);
