import { packageFile } from './package-file.js';

const places = ['../job-supervisor.js', '../../job-supervisor.js', '../../dist/job-supervisor.js'];

/** The program that watches over jobs, as this package ships it. Undefined: a bundler has left it behind. */
export const jobSupervisorFile = (): string | undefined => packageFile(places, 'dist/job-supervisor.js');
