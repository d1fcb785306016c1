import { describeKilledJobs } from '../../support/kill/jobs.js';

describeKilledJobs(9, 20260101);
