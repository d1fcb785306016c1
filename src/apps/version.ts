declare const __CTRL_EXEC_VERSION__: string | undefined;

/** Version of this package, set by the build. */
export const version: string =
  typeof __CTRL_EXEC_VERSION__ === 'string' ? __CTRL_EXEC_VERSION__ : '0.0.0-development';
