import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** From the commands, from their and the library's chunks, from the library's entries, and from the source. */
const places = ['../job-supervisor.js', '../../job-supervisor.js', '../../dist/job-supervisor.js'];

/** The program that watches over jobs, as this package ships it. */
export function jobSupervisorFile(): string {
  const files = places.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  return files.find((file) => existsSync(file)) ?? files[0] ?? '';
}
