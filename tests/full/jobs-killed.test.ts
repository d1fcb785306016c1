import { describeKilledJobs } from '../support/kill/jobs.js';
import { leaveNothingBehind } from '../support/kill/sweep.js';

leaveNothingBehind();

// KILL_ROUNDS=1000 for more moments; KILL_SEED to have those of an earlier run again.
const { KILL_ROUNDS: rounds = '200', KILL_SEED: seed = String(Date.now() % 1_000_000) } = process.env;

describeKilledJobs(Number(rounds), Number(seed));
