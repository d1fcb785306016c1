import type { DeployContext } from './context.js';

/** Does something with the directories of files held: what is moved or linked elsewhere meanwhile changes nothing. */
export async function holding<T>(
  context: DeployContext,
  work: (held: DeployContext) => Promise<T>,
): Promise<T> {
  const deploymentFiles = context.deploymentFiles.hold();
  try {
    return await work({ ...context, deploymentFiles });
  } finally {
    deploymentFiles.release();
  }
}
